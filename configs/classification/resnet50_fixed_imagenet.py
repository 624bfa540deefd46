# The baseline: ResNet-50 on ImageNet (supplement, Table 1).
_base_ = [
    '../_base_/classification/models/resnet50.py',
    '../_base_/classification/datasets/imagenet.py',
    '../_base_/classification/schedules/imagenet.py',
    '../_base_/classification/runtime.py'
]
model = dict(data_preprocessor=_base_.data_preprocessor, head=dict(num_classes=1000))
