# DynOPool-S: MobileNetV2 on FGVC-Aircraft (supplement, Tables 1 and 2).
_base_ = './mobilenet_v2_fixed_aircraft.py'
model = dict(type='DynOPoolImageClassifier', dynopool=dict(rule='after'))
# alpha: the weights' lr, 1e-2, no weight decay.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=1., decay_mult=0.)}))
# lambda, per 1e9 multiply-adds.
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=3.00e-5, gmacs_shape=(224, 224))]
