# The baseline: ResNet-50 on CIFAR-100 (supplement, Table 1).
_base_ = [
    '../_base_/classification/models/resnet50.py',
    '../_base_/classification/datasets/cifar100.py',
    '../_base_/classification/schedules/cifar100.py',
    '../_base_/classification/runtime.py'
]
model = dict(
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(type='ResNet_CIFAR'),  # no stride and no pooling in the stem
    head=dict(num_classes=100))
