"""The resize of the image: aligned sizes, values, gradients, constants."""

import copy
import pickle

import pytest
import torch
from torch import nn

from mmseg_dynopool.layers import FixedImageResize, ImageResize, freeze_pools
from mmseg_dynopool.layers.image import add_zero_gradient
from mmseg_dynopool.ops import aligned_size, image_resize2d


@pytest.mark.parametrize('size, alpha, multiple, expected', [
    ((144, 48), (1.0, 1.0), 4, (144, 48)),
    ((145, 49), (1.0, 1.0), 4, (145, 49)),  # nothing at all
    ((145, 49), (1.001, 1.0), 4, (144, 49)),
    ((113, 121), (1.0001, 0.9999), 4, (112, 120)),
    ((160, 160), (1.43, 1.37), 4, (112, 116)),
    ((512, 1024), (0.5, 2.0), 8, (1024, 512)),
    ((10, 3), (4.0, 4.0), 4, (4, 4)),  # one multiple at least
    ((96, 100), (96 / 70.5, 100 / 69), 4, (72, 68))])
def test_aligned_sizes(size, alpha, multiple, expected):
    assert aligned_size(size, alpha, multiple) == expected
    brute = [n if a == 1 else max(multiple, min(
        range(0, 4 * n + multiple, multiple), key=lambda k: (abs(k - n / a), -k)))
        for n, a in zip(size, alpha)]
    assert expected == tuple(brute)


def test_at_scale_one_nothing_happens():
    image = torch.rand(2, 3, 65, 97)
    resize = ImageResize(multiple=4)
    assert resize(image) is image and resize.output_size((65, 97)) == (65, 97)
    assert resize.alpha.tolist() == [1.0, 1.0]


def test_values_are_areas_where_the_scale_halves():
    """Without aliasing: a triangle of twice the width, here by hand along one axis."""
    image = torch.rand(1, 1, 4, 16, dtype=torch.float64)
    found = ImageResize((1.0, 0.5)).double()(image)
    weights = torch.tensor([1, 3, 3, 1], dtype=torch.float64) / 8
    inner = torch.stack([(image[0, 0, :, i:i + 4] * weights).sum(1) for i in range(1, 12, 2)], 1)
    assert found.shape == (1, 1, 4, 8)
    torch.testing.assert_close(found[0, 0, :, 1:7], inner, rtol=0, atol=1e-7)


def test_the_alpha_gets_zeros_and_the_image_no_gradient():
    resize, conv = ImageResize(0.5), nn.Conv2d(3, 2, 3, 2, 1)
    image = torch.rand(1, 3, 16, 16)
    features = [conv(resize(image)), 'a name']
    (output, _) = add_zero_gradient(features, resize)
    assert torch.equal(output, features[0])
    output.square().sum().backward()
    assert resize.alpha.grad.tolist() == [0.0, 0.0]
    assert conv.weight.grad.abs().sum() > 0


def test_a_constant_is_the_same_bit_for_bit():
    resize = ImageResize((0.7, 1.3), multiple=4)
    image = torch.rand(1, 3, 64, 80)
    for fixed in (resize.freeze(), resize.for_counting(), freeze_pools(nn.Sequential(resize))[0],
                  copy.deepcopy(resize), pickle.loads(pickle.dumps(resize.freeze()))):
        assert torch.equal(fixed(image), resize(image))
        assert fixed.output_size((64, 80)) == (44, 104)
    other = FixedImageResize(multiple=4)
    other.load_state_dict(resize.state_dict())
    assert torch.equal(other(image), resize(image))


@pytest.mark.parametrize('options, words', [
    (dict(bounds=(0.25, 0.9)), r'must hold 1, got \(0.25, 0.9\)'),
    (dict(bounds=(1.5, 4)), 'must hold 1'),
    (dict(multiple=0), 'multiple must be a whole number of pixels >= 1, got 0'),
    (dict(multiple=2.0), 'multiple must be .* got 2.0'),
    (dict(scale=5), 'lies outside bounds')])
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        ImageResize(**options)


def test_bad_images():
    with pytest.raises(ValueError):
        image_resize2d(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), (2.0, 2.0))
    with pytest.raises(ValueError, match='alpha must be positive and finite'):
        image_resize2d(torch.zeros(1, 3, 8, 8), (0.0, 2.0))
