# The baseline: MobileNetV2 on ImageNet (supplement, Table 1).
_base_ = [
    '../_base_/classification/models/mobilenet_v2.py',
    '../_base_/classification/datasets/imagenet.py',
    '../_base_/classification/schedules/imagenet.py',
    '../_base_/classification/runtime.py'
]
model = dict(data_preprocessor=_base_.data_preprocessor, head=dict(num_classes=1000))
optim_wrapper = dict(optimizer=dict(lr=5e-2, weight_decay=4e-5))
