"""Small networks and small data sets for the tests."""

from pathlib import Path

import cv2
import mmengine
import numpy as np
import torch
from mmengine.utils import digit_version

ROOT = Path(__file__).resolve().parent.parent
W48 = (48, 96, 192, 384)
# Upstream's last mmengine reads checkpoints by torch.load's default: only weights, since 2.6.
ONLY_WEIGHTS = (digit_version(mmengine.__version__) <= digit_version('0.10.7')
                and digit_version(torch.__version__) >= digit_version('2.6.0'))
TRUST = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'


def hrnet_extra(channels=(4, 8, 12, 16), modules=(1, 1, 1, 1), blocks=1):
    """The ``extra`` of an HRNet, by default a tiny one."""
    return {
        f'stage{i + 1}': dict(
            num_modules=modules[i],
            num_branches=i + 1,
            block='BASIC' if i else 'BOTTLENECK',
            num_blocks=(blocks, ) * (i + 1),
            num_channels=tuple(channels[:i + 1]) if i else (8 if blocks == 1 else 64, ))
        for i in range(4)
    }


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
