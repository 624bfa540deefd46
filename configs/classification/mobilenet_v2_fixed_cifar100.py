# The baseline: MobileNetV2 on CIFAR-100 (supplement, Table 1).
_base_ = [
    '../_base_/classification/models/mobilenet_v2.py',
    '../_base_/classification/datasets/cifar100.py',
    '../_base_/classification/schedules/cifar100.py',
    '../_base_/classification/runtime.py'
]
model = dict(
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(type='MobileNetV2CIFAR'),  # a total stride of 8
    head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(weight_decay=4e-5))
