"""The resize of the image: aligned sizes, values, gradients, constants."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

from mmseg_dynopool.layers import FixedImageResize, ImageResize, freeze_pools
from mmseg_dynopool.layers.image import add_zero_gradient, restore_size
from mmseg_dynopool.learning import LearnedScales
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


@pytest.mark.parametrize('read', [0, 1])
def test_the_alpha_gets_zeros_and_the_features_their_gradient(read):
    """Whichever of the outputs a loss reads, and although it changes them in place."""
    resize, conv = ImageResize(0.5), nn.Conv2d(3, 2, 3, 2, 1)
    features = conv(resize(torch.rand(1, 3, 16, 16)))
    expected, = torch.autograd.grad((3 * features).square().sum(), conv.weight, retain_graph=True)
    *outputs, name = add_zero_gradient([features, features, 'a name'], resize)
    assert torch.equal(outputs[read], features) and name == 'a name'
    outputs[read].mul_(3).square().sum().backward()
    assert resize.alpha.grad.tolist() == [0.0, 0.0]
    assert torch.equal(conv.weight.grad, expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_images_of_half_precision(dtype):
    image = torch.rand(2, 3, 33, 50).to(dtype)
    found = image_resize2d(image, (1.7, 0.8), multiple=4)
    assert found.dtype == dtype
    torch.testing.assert_close(found, image_resize2d(image.float(), (1.7, 0.8), 4).to(dtype),
                               rtol=0, atol=0)


def test_what_has_the_size_of_the_resized_image_gets_that_of_the_image():
    logits, labels = torch.rand(2, 3, 16, 24), torch.randint(300, (2, 16, 24))
    one, scores, others = logits[:, 0], torch.rand(2, 5), torch.rand(2, 3, 8, 12)
    found = restore_size(dict(a=[logits, labels], b=(one, scores, others), c='a name'),
                         (16, 24), (32, 72))
    large = torch.nn.functional.interpolate(logits, (32, 72), mode='bilinear')
    assert torch.equal(found['a'][0], large)
    by_hand = labels.repeat_interleave(2, 1).repeat_interleave(3, 2)
    assert torch.equal(found['a'][1], by_hand) and found['a'][1].dtype == torch.int64
    assert torch.equal(found['b'][0], large[:, 0])
    assert found['b'][1] is scores and found['b'][2] is others and found['c'] == 'a name'


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


def test_an_exported_one_resizes_where_its_example_kept_its_size():
    resize = FixedImageResize(0.99, multiple=4)
    program = torch.export.export(resize, (torch.rand(1, 3, 160, 160), ), strict=False,
                                  dynamic_shapes=({2: Dim.DYNAMIC, 3: Dim.DYNAMIC}, )).module()
    for size in ((160, 160), (231, 297)):
        image = torch.rand(1, 3, *size)
        assert resize(image).shape[2:] == (size if size == (160, 160) else (228, 296))
        torch.testing.assert_close(program(image), resize(image))


def test_tied_axes_are_one_number_of_a_learner():
    resize = ImageResize(0.8, multiple=4, tied=True)
    scales = LearnedScales(resize)
    assert scales.read().tolist() == pytest.approx([math.log(1.25)])
    scales.write_(np.array([math.log(1.6)]))
    assert resize.alpha.tolist() == pytest.approx([1.6, 1.6])
    assert resize.output_size((64, 96)) == FixedImageResize(0.625, 4).output_size((64, 96))


@pytest.mark.parametrize('options, words', [
    (dict(scale=(0.7, 0.8), tied=True), r'one for both axes .*got \(0.7, 0.8\)'),
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
