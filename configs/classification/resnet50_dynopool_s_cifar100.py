# DynOPool-S: ResNet-50 on CIFAR-100 (supplement, Tables 1 and 2).
_base_ = './resnet50_fixed_cifar100.py'
model = dict(
    type='DynOPoolImageClassifier',
    # The other levels keep their 0.5.
    dynopool=dict(rule='after', scale=dict(stride2=0.6)))
# alpha: 1e-2 beside the weights' 1e-1, no weight decay.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=0.1, decay_mult=0.)}))
# lambda is 0: the start at 0.6 sets the size.
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=0., gmacs_shape=(32, 32))]
