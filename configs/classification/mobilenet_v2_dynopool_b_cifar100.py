# DynOPool-B: MobileNetV2 on CIFAR-100, the larger network (supplement, Table 2).
_base_ = './mobilenet_v2_dynopool_s_cifar100.py'
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=1.00e-7, gmacs_shape=(32, 32))]
