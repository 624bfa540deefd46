# The baseline: VGG-16 on CIFAR-100 (supplement, Table 1).
_base_ = [
    '../_base_/classification/models/vgg16.py',
    '../_base_/classification/datasets/cifar100.py',
    '../_base_/classification/schedules/cifar100.py',
    '../_base_/classification/runtime.py'
]
model = dict(data_preprocessor=_base_.data_preprocessor, head=dict(num_classes=100))
