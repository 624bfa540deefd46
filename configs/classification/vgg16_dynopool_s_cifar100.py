# DynOPool-S: VGG-16 on CIFAR-100 (supplement, Tables 1 and 2).
_base_ = './vgg16_fixed_cifar100.py'
model = dict(type='DynOPoolImageClassifier', dynopool=dict(rule='after'))
# alpha: 1e-2 beside the weights' 1e-1, no weight decay.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=0.1, decay_mult=0.)}))
# lambda, per 1e9 multiply-adds.
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=2.20e-4, gmacs_shape=(32, 32))]
