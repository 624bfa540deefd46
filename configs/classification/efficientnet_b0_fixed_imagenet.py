# The baseline: EfficientNet-B0 on ImageNet (supplement, section 1.2: VGG-16's training).
_base_ = [
    '../_base_/classification/models/efficientnet_b0.py',
    '../_base_/classification/datasets/imagenet.py',
    '../_base_/classification/schedules/imagenet.py',
    '../_base_/classification/runtime.py'
]
model = dict(data_preprocessor=_base_.data_preprocessor, head=dict(num_classes=1000))
