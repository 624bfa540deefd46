"""Small networks and small data sets for the tests."""

from pathlib import Path

import cv2
import mmengine
import numpy as np
import torch
from mmengine.utils import digit_version

ROOT = Path(__file__).resolve().parents[2]
W48 = (48, 96, 192, 384)
TWO_STREAMS = (4, 8)
ONE_STAGE = (1, 1, 0, 0)  # modules of an HRNet that has two streams and fuses them once
LAST_STAGE = (1, 0, 0, 1)  # all streams, fused once
SIZE = (64, 96)  # of the tiny segmentor's images
# Upstream's last mmengine reads checkpoints by torch.load's default: only weights, since 2.6.
ONLY_WEIGHTS = (digit_version(mmengine.__version__) <= digit_version('0.10.7')
                and digit_version(torch.__version__) >= digit_version('2.6.0'))
TRUST = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'


def hrnet_extra(channels=(4, 8, 12, 16), modules=(1, 1, 1, 1), blocks=1):
    """The ``extra`` of an HRNet with a stream for each of ``channels``, by default a tiny one."""
    extra = {}
    for i, streams in enumerate(min(i + 1, len(channels)) for i in range(4)):
        extra[f'stage{i + 1}'] = dict(
            num_modules=modules[i],
            num_branches=streams,
            block='BASIC' if i else 'BOTTLENECK',
            num_blocks=(blocks, ) * streams,
            num_channels=tuple(channels[:streams]) if i else (8 if blocks == 1 else 64, ))
    return extra


def w48_extra():
    return hrnet_extra(W48, modules=(1, 1, 4, 3), blocks=4)


def fcn_head(channels, num_classes=3):
    return dict(
        type='FCNHead',
        in_channels=list(channels),
        in_index=list(range(len(channels))),
        channels=16,
        input_transform='resize_concat',
        kernel_size=1,
        num_convs=1,
        concat_input=False,
        dropout_ratio=-1,
        num_classes=num_classes,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0))


def segmentor_config(cascade=False, gmacs_weight=None, channels=(4, 8, 12, 16),
                     modules=(1, 1, 1, 1), **dynopool):
    """A tiny segmentor with a stream for each of ``channels``, and so many modules in each stage.

    ``gmacs_weight`` is given to the model, as version 0.3 took it. Further options are those of its
    DynOPools.
    """
    head = fcn_head(channels)
    if cascade:
        ocr = dict(head, type='OCRHead', ocr_channels=8)
        for key in ('kernel_size', 'num_convs', 'concat_input'):
            ocr.pop(key)
        head = [head, ocr]
    return dict(
        type=f'DynOPool{"Cascade" if cascade else ""}EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=SIZE),
        backbone=dict(type='DynOPoolHRNet', extra=hrnet_extra(channels, modules),
                      dynopool=dynopool),
        decode_head=head,
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
        **({} if gmacs_weight is None else dict(gmacs_weight=gmacs_weight)),
        **(dict(num_stages=2) if cascade else {}))


def converted_config(kind='ResNet', classes=3, **dynopool):
    """A tiny segmentor whose backbone is converted; further options are those of its DynOPools.

    ``kind``: ``'ResNet'`` (V1c-18 with DeepLabV3+), ``'ResNet7'`` (with a 7 x 7 stem), ``'UNet'``.
    """
    norm = dict(type='BN', requires_grad=True)
    head = dict(num_classes=classes, norm_cfg=norm, align_corners=False, dropout_ratio=-1,
                loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))
    if kind == 'UNet':
        backbone = dict(type='UNet', base_channels=4, num_stages=3, strides=(1, 1, 1),
                        enc_num_convs=(1, 1, 1), dec_num_convs=(1, 1), downsamples=(True, True),
                        enc_dilations=(1, 1, 1), dec_dilations=(1, 1), norm_cfg=norm)
        head |= dict(type='FCNHead', in_channels=4, in_index=2, channels=4, num_convs=1,
                     concat_input=False)
    else:
        backbone = dict(type='ResNet' if kind == 'ResNet7' else 'ResNetV1c', depth=18,
                        stem_channels=8, base_channels=8, norm_cfg=norm, strides=(1, 2, 2, 1),
                        dilations=(1, 1, 1, 2), contract_dilation=True)
        head |= dict(type='DepthwiseSeparableASPPHead', in_channels=64, in_index=3, channels=8,
                     dilations=(1, 2), c1_in_channels=8, c1_channels=4)
    return dict(
        type='DynOPoolEncoderDecoder', dynopool=dynopool,
        data_preprocessor=dict(type='SegDataPreProcessor', size=SIZE), backbone=backbone,
        decode_head=head, train_cfg=dict(), test_cfg=dict(mode='whole'))


def write_cityscapes(root: Path, cities=('train', 'val'), count=4, size=(80, 144)):
    """Images and label maps of random rectangles in the layout of Cityscapes."""
    rng = np.random.default_rng(0)
    for split in cities:
        for i in range(count):
            label = np.zeros(size, np.uint8)
            for _ in range(6):
                y, x = rng.integers(0, size[0] - 20), rng.integers(0, size[1] - 30)
                label[y:y + 20, x:x + 30] = rng.integers(0, 19)
            label[:2] = 255
            image = (label[..., None] * [11, 7, 5] + rng.integers(0, 40, (*size, 3))) % 256
            name = f'town_{i:06d}_000019'
            for folder, suffix, array in (
                ('leftImg8bit', 'leftImg8bit', image.astype(np.uint8)),
                ('gtFine', 'gtFine_labelTrainIds', label)):
                path = root / folder / split / 'town' / f'{name}_{suffix}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), array)
    return root


def write_project(folder, data_root, modules=ONE_STAGE):
    """A user's own HRNet config with so many modules in each stage, in the user's own folder.

    Four streams; by default the first two are fused, once, which takes half of the time.
    """
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64), pad_val=0,
                               seg_pad_val=255),
        backbone=dict(type='HRNet', extra=hrnet_extra(modules=modules),
                      norm_cfg=dict(type='SyncBN', requires_grad=True)),
        decode_head=fcn_head((4, 8, 12, 16), 19),
        train_cfg={}, test_cfg=dict(mode='whole'))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    crop, pack = dict(type='RandomCrop', crop_size=(64, 64)), dict(type='PackSegInputs')

    def loader(split, sampler):
        return dict(
            batch_size=2, num_workers=0, sampler=dict(type=sampler, shuffle=False),
            dataset=dict(
                type='CityscapesDataset', data_root=str(data_root),
                pipeline=[*pipeline, *([crop] if split == 'train' else []), pack],
                data_prefix=dict(img_path=f'leftImg8bit/{split}',
                                 seg_map_path=f'gtFine/{split}')))

    settings = dict(
        default_scope='mmseg', model=model, train_dataloader=loader('train', 'InfiniteSampler'),
        val_dataloader=loader('val', 'DefaultSampler'),
        val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(
            type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3),
        val_cfg=dict(type='ValLoop'), test_cfg=dict(type='TestLoop'),
        test_dataloader=loader('val', 'DefaultSampler'),
        test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']), randomness=dict(seed=1),
        env_cfg=dict(dist_cfg=dict(backend='gloo')),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1),
                           checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3)),
        log_processor=dict(by_epoch=False), visualizer=dict(
            type='SegLocalVisualizer', name='visualizer',
            vis_backends=[dict(type='LocalVisBackend')]))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'my_hrnet_config.py').write_text(
        ''.join(f'{key} = {value!r}\n' for key, value in settings.items()))
    # Of an image that keeps its size: the streams are a small part of a toy's cost, so that 0.5 is
    # out of their reach.
    (folder / 'my_dynopool_config.py').write_text(
        readme_config("backbone=dict(type='DynOPoolHRNet')").replace('target=0.5', 'target=0.98'))


def write_converted_project(folder, data_root, kind='ResNet', target=0.5):
    """A config ``my_converted_config.py`` beside those of `write_project`, and its stock one."""
    write_project(folder, data_root)
    model = converted_config(kind, 19)
    options = model.pop('dynopool')
    preprocessor = dict(model['data_preprocessor'], size=(64, 64), pad_val=0, seg_pad_val=255)
    stock = dict(model, type='EncoderDecoder', data_preprocessor=preprocessor)
    (folder / 'my_stock_config.py').write_text(
        f"_base_ = './my_hrnet_config.py'\nmodel = dict(_delete_=True, **{stock!r})\n")
    lines = readme_config(f"type='DynOPoolEncoderDecoder', dynopool={options!r}")
    (folder / 'my_converted_config.py').write_text(lines.replace(
        'my_hrnet_config', 'my_stock_config').replace('target=0.5', f'target={target}'))


def readme_config(model=None):
    """The four lines as the README prints them, with other options of ``model`` if wanted."""
    text = (ROOT / 'README.md').read_text()
    start = text.index("_base_ = './my_hrnet_config.py'")
    lines = text[start:text.index('```', start)]
    printed = "model = dict(backbone=dict(type='DynOPoolHRNet', dynopool=dict(image=True)))\n"
    assert len(lines.splitlines()) == 4 and printed in lines and 'target=0.5)' in lines
    return lines.replace(printed, f'model = dict({model})\n') if model else lines
