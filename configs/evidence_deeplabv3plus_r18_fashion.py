# Evidence: a stock DeepLabV3+ with a ResNet-18 of 16 channels on scenes of garments.
_base_ = ['./evidence_hrnet_fashion.py']
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        base_channels=16,
        stem_channels=16,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=norm_cfg),
    decode_head=dict(
        _delete_=True,
        type='DepthwiseSeparableASPPHead',
        in_channels=128,
        in_index=3,
        channels=32,
        dilations=(1, 2, 4),
        c1_in_channels=16,
        c1_channels=12,
        dropout_ratio=0.,
        num_classes=11,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(
            type='CrossEntropyLoss',
            use_sigmoid=False,
            loss_weight=1.0,
            # Background: 60 % of the pixels.
            class_weight=[0.4] + [1.] * 10)))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0., begin=0, end=450, by_epoch=False)
]
train_cfg = dict(max_iters=450, val_interval=450)
