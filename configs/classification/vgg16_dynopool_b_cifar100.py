# DynOPool-B: VGG-16 on CIFAR-100, the larger network (supplement, Table 2).
_base_ = './vgg16_dynopool_s_cifar100.py'
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=1.59e-5, gmacs_shape=(32, 32))]
