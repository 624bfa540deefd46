# DynOPool-B: ResNet-50 on CIFAR-100, the larger network (supplement, Table 2).
_base_ = './resnet50_dynopool_s_cifar100.py'
model = dict(dynopool=dict(scale=dict(stride2=0.8)))
