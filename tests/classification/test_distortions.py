"""Stretched, tiled and enlarged images."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

pytest.importorskip('mmpretrain', reason='make test-classification has an environment with it')

from mmpretrain.registry import TRANSFORMS

import mmseg_dynopool.classification  # noqa: F401  registers


def distort(image, **transform):
    results = TRANSFORMS.build(transform)(dict(img=image, gt_label=3))
    assert results['gt_label'] == 3 and results['img_shape'] == results['img'].shape[:2]
    assert results['img'].dtype == image.dtype
    return results['img']


@pytest.fixture(params=[(6, 10, 3), (6, 10, 1), (6, 10)], ids=str)
def image(request):
    return np.random.default_rng(0).integers(0, 256, request.param, dtype=np.uint8)


def interpolated(image, height, width):
    """Bilinear, pixel centres at halves."""
    planes = torch.from_numpy(image.reshape(*image.shape[:2], -1)).permute(2, 0, 1).double()
    resized = F.interpolate(planes[None], (height, width), mode='bilinear')[0]
    return resized.permute(1, 2, 0).numpy().reshape(height, width, *image.shape[2:])


@pytest.mark.parametrize('transform,size', [
    (dict(type='StretchImage'), (12, 10)),
    (dict(type='StretchImage', factor=3, axis='width'), (6, 30)),
    (dict(type='StretchImage', factor=0.5, axis='height'), (3, 10)),
    (dict(type='EnlargeImage'), (12, 20)), (dict(type='EnlargeImage', factor=1.5), (9, 15))])
def test_resized(image, transform, size):
    found = distort(image, **transform)
    assert found.shape == (*size, *image.shape[2:])
    assert np.abs(found - interpolated(image, *size)).max() <= 1  # 8 bits are rounded


def test_tiled(image):
    found = distort(image, type='TileImage', rows=3, columns=2)
    assert found.shape == (18, 20, *image.shape[2:])
    for row in range(3):
        for column in range(2):
            assert np.array_equal(found[6 * row:][:6, 10 * column:][:, :10], image)


@pytest.mark.parametrize('transform,message', [
    (dict(type='StretchImage', axis='depth'), "'height' or 'width', got 'depth'"),
    (dict(type='StretchImage', factor=0), 'got 0'), (dict(type='EnlargeImage', factor=-1), '-1'),
    (dict(type='TileImage', rows=0), 'rows must be a whole number >= 1, got 0'),
    (dict(type='TileImage', columns=1.5), 'columns must be a whole number >= 1, got 1.5')])
def test_bad_arguments(transform, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(transform)
