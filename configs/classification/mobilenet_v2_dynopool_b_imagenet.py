# DynOPool-B: MobileNetV2 on ImageNet, the larger network (supplement, Table 2).
_base_ = './mobilenet_v2_dynopool_s_imagenet.py'
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=1.00e-5, gmacs_shape=(224, 224))]
