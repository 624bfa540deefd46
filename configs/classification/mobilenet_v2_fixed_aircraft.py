# The baseline: MobileNetV2 on FGVC-Aircraft (supplement, Table 1).
_base_ = [
    '../_base_/classification/models/mobilenet_v2.py',
    '../_base_/classification/datasets/aircraft.py',
    '../_base_/classification/schedules/aircraft.py',
    '../_base_/classification/runtime.py'
]
model = dict(data_preprocessor=_base_.data_preprocessor, head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(weight_decay=4e-5))
