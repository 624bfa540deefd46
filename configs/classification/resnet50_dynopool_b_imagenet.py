# DynOPool-B: ResNet-50 on ImageNet, the larger network (supplement, Table 2).
_base_ = './resnet50_dynopool_s_imagenet.py'
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=2.00e-5, gmacs_shape=(224, 224))]
