# MobileNetV2.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='MobileNetV2'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=1280, loss=dict(type='CrossEntropyLoss')))
