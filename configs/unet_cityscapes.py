# Stock UNet on Cityscapes, mmseg's recipe: 160,000 iterations, batch 16.
_base_ = [
    './_base_/models/imagenet_preprocessor.py', './_base_/datasets/cityscapes.py',
    './_base_/schedules/iters_80k.py', './_base_/default_runtime.py'
]
norm_cfg = dict(type='SyncBN', requires_grad=True)  # becomes BN where there is one process
head = dict(
    type='FCNHead',
    channels=64,
    num_convs=1,
    concat_input=False,
    dropout_ratio=0.1,
    num_classes=19,
    norm_cfg=norm_cfg,
    align_corners=False)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='UNet', base_channels=64, num_stages=5, norm_cfg=norm_cfg),
    decode_head=dict(
        head,
        in_channels=64,
        in_index=4,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=dict(
        head,
        in_channels=128,
        in_index=3,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0., begin=0, end=160000, by_epoch=False)
]
train_cfg = dict(max_iters=160000, val_interval=16000)
default_hooks = dict(checkpoint=dict(interval=16000))
log_processor = dict(by_epoch=False)
