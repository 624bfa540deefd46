# Evidence: a stock HRNet of 16 channels on scenes of garments, minutes on a CPU core.
_base_ = ['./_base_/datasets/fashion_scenes.py', './_base_/schedules/evidence.py',
          './_base_/default_runtime.py']
log_processor = dict(by_epoch=False)
norm_cfg = dict(type='BN', requires_grad=True)
channels = [16, 32, 64, 128]
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[100., 100., 100.],
        std=[50., 50., 50.],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(128, 128)),
    backbone=dict(
        type='HRNet',
        norm_cfg=norm_cfg,
        extra=dict(
            stage1=dict(
                num_modules=1,
                num_branches=1,
                block='BOTTLENECK',
                num_blocks=(1, ),
                num_channels=(16, )),
            stage2=dict(
                num_modules=1,
                num_branches=2,
                block='BASIC',
                num_blocks=(1, 1),
                num_channels=channels[:2]),
            stage3=dict(
                num_modules=1,
                num_branches=3,
                block='BASIC',
                num_blocks=(1, 2, 2),
                num_channels=channels[:3]),
            stage4=dict(
                num_modules=1,
                num_branches=4,
                block='BASIC',
                num_blocks=(1, 2, 2, 2),
                num_channels=channels))),
    decode_head=dict(
        type='FCNHead',
        in_channels=channels,
        in_index=(0, 1, 2, 3),
        channels=48,
        input_transform='resize_concat',
        kernel_size=1,
        num_convs=1,
        concat_input=False,
        dropout_ratio=-1,
        num_classes=11,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(
            type='CrossEntropyLoss',
            use_sigmoid=False,
            loss_weight=1.0,
            # Background: 60 % of the pixels.
            class_weight=[0.4] + [1.] * 10)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
