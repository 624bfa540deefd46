# EfficientNet-B0 with DynOPool on ImageNet (supplement, section 1.2).
_base_ = './efficientnet_b0_fixed_imagenet.py'
model = dict(type='DynOPoolImageClassifier', dynopool=dict(rule='after'))
# alpha: 5e-3 beside the weights' 1e-1, no weight decay.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=0.05, decay_mult=0.)}))
# lambda, per 1e9 multiply-adds.
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=2.50e-5, gmacs_shape=(224, 224))]
