# VGG-16 with a single fully connected layer (supplement, section 1.1) and four poolings
# (section 3): the global average pooling takes the place of the fifth.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='VGG', depth=16, norm_cfg=dict(type='BN'), with_last_pool=False),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=512, loss=dict(type='CrossEntropyLoss')))
