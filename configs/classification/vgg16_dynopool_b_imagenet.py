# DynOPool-B: VGG-16 on ImageNet, the larger network (supplement, Table 2).
_base_ = './vgg16_dynopool_s_imagenet.py'
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=7.00e-5, gmacs_shape=(224, 224))]
