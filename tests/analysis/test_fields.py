"""Effective receptive fields."""

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmseg_dynopool.analysis.fields import compare_fields, measure_fields
from mmseg_dynopool.layers import freeze_pools
from support.networks import Pooled
from support.networks import kaiming_segmentor as model
from support.toys import converted_config, segmentor_config

SIZE = (64, 96)


@pytest.fixture(scope='module')
def fields():
    torch.manual_seed(0)
    return compare_fields(model(scale=dict(stream1=(0.25, 0.5))), torch.rand(1, 3, *SIZE))


def test_a_convolution_behind_a_pool():
    network = Pooled((0.25, 0.5))
    nn.init.constant_(network.conv.weight, 0.5)
    field, = measure_fields(network, torch.rand(1, 3, 32, 32))
    assert field.name == 'output 0' and field.size == (8, 16)
    # 3 x 3 cells of 4 x 2 pixels, a pixel (or two halves of two) of each, all the same weight.
    assert field.theoretical == (12, 24, 14, 20) and field.theoretical.extent == (12, 6)
    assert field.gradient.sum() == pytest.approx(1)
    cells = field.gradient[12:24, 14:20].reshape(3, 4, 3, 2).sum((1, 3))
    assert cells == pytest.approx(np.full((3, 3), 1 / 9))  # and so nothing elsewhere
    assert field.core.extent[0] < field.effective.extent[0] <= 12


def test_the_middle_of_a_known_profile():
    kernel = torch.zeros(1, 1, 41, 41)
    kernel[..., 20] = torch.linspace(1, 1, 41)  # 41 pixels in height, one in width
    network = nn.Conv2d(1, 1, 41, padding=20)
    network.weight.data = kernel
    field, = measure_fields(network, torch.rand(1, 1, 80, 80))
    # 1.025 pixels of the 41 are cut off at either end, or 10.25 of them.
    assert field.effective == (40 - 20 + 1, 40 + 21 - 1, 40, 41)
    assert field.core == (40 - 20 + 10, 40 + 21 - 10, 40, 41)
    assert field.theoretical == (20, 61, 20, 61)


def test_learned_beside_stock(fields):
    assert list(fields) == ['learned', 'r = 0.5']
    for found in fields.values():
        assert [field.name for field in found] == [
            'stream 0', 'stream 1', 'stream 2', 'stream 3', 'logit']
        assert all(field.gradient.shape == SIZE for field in found)
        assert found[4].theoretical is None
    assert [field.size for field in fields['r = 0.5']] == [
        (16, 24), (8, 12), (4, 6), (2, 3), (16, 24)]
    assert [field.size for field in fields['learned']] == [
        (16, 24), (4, 12), (2, 6), (1, 3), (16, 24)]
    for learned, stock in zip(fields['learned'][:4], fields['r = 0.5']):
        assert learned.theoretical.extent[0] > 1.2 * stock.theoretical.extent[0]
        assert learned.theoretical.extent[1] == stock.theoretical.extent[1]


def test_gradients_are_those_of_the_network_itself():
    torch.manual_seed(1)
    network = model(scale=(0.4, 0.6))
    image = torch.rand(1, 3, *SIZE)
    found = compare_fields(network, image)['learned']
    image.requires_grad_()
    output = network.backbone(image)[2]
    expected, = torch.autograd.grad(output[0, :, output.shape[2] // 2, output.shape[3] // 2].sum(),
                                    image)
    expected = expected[0].abs().mean(0)
    assert found[2].gradient == pytest.approx((expected / expected.sum()).numpy(), abs=1e-6)
    logits = network._forward(image)
    expected, = torch.autograd.grad(logits[0, :, logits.shape[2] // 2, logits.shape[3] // 2].max(),
                                    image)
    expected = expected[0].abs().mean(0)
    assert found[4].gradient == pytest.approx((expected / expected.sum()).numpy(), abs=1e-6)
    assert network.backbone.dynopools['stream1'].scale.tolist() == pytest.approx([0.4, 0.6])


def test_the_images_own_size():
    torch.manual_seed(0)
    network = model(image=True, scale=dict(image=(0.5, 1.0)))
    fields = compare_fields(network, torch.rand(1, 3, *SIZE))
    assert list(fields) == ['learned', 'stock scales']
    for learned, stock in zip(fields['learned'], fields['stock scales'], strict=True):
        assert learned.gradient.shape == stock.gradient.shape == SIZE
        assert (2 * learned.size[0], learned.size[1]) == stock.size
    for learned, stock in zip(fields['learned'][:4], fields['stock scales']):
        (height, width), (before, across) = (f.theoretical.extent for f in (learned, stock))
        assert 1.9 < height / before < 2.1 and width == across


@pytest.mark.parametrize('options', [dict(cascade=True), dict(stem=True)])
def test_other_networks(options):
    network = model(**options)
    image = torch.rand(1, 3, *SIZE)
    half = compare_fields(network, image)['learned']  # every scale is at 0.5
    with torch.no_grad():
        network.backbone.dynopools['stream1'].alpha.copy_(torch.tensor([4.0, 2.5]))
    fields = compare_fields(network, image)
    for learned, stock, expected in zip(fields['learned'], fields['r = 0.5'], half, strict=True):
        assert stock.size == expected.size
        assert stock.gradient == pytest.approx(expected.gradient)
        assert learned.gradient != pytest.approx(stock.gradient)
    assert fields['learned'][1].size != half[1].size


def test_frozen_scales():
    network = model(scale=(0.25, 0.5))
    image = torch.rand(1, 3, *SIZE)
    found = compare_fields(network, image)['learned']
    frozen = compare_fields(freeze_pools(network), image)['learned']
    for field, same in zip(found, frozen, strict=True):
        assert field.theoretical == same.theoretical
        assert field.gradient == pytest.approx(same.gradient)


def test_bad_values_are_refused():
    config = segmentor_config()
    config['type'], config['backbone']['type'] = 'EncoderDecoder', 'HRNet'
    config['backbone'].pop('dynopool')
    with pytest.raises(ValueError, match='HRNet holds no DynOPool'):
        compare_fields(MODELS.build(config), torch.rand(1, 3, *SIZE))
    diverged = Pooled(0.5)
    nn.init.constant_(diverged.conv.weight, float('inf'))
    with pytest.raises(ValueError, match='centre unit of output 0 is not finite'):
        measure_fields(diverged, torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r'image must have shape \(1, C, H, W\), got \(3, 32, 32'):
        measure_fields(diverged, torch.rand(3, 32, 32))


@pytest.mark.parametrize('kind, rule, title, maps', [
    ('ResNet7', 'after', 'stock scales', [(16, 24), (8, 12), (4, 6), (4, 6), (16, 24)]),
    ('UNet', 'before', 'r = 0.5', [(16, 24), (32, 48), (64, 96), (64, 96)])])
def test_a_converted_network_beside_its_stock_scales(kind, rule, title, maps):
    network = model(converted_config, kind=kind, rule=rule)
    with torch.no_grad():
        next(iter(network.backbone.dynopools.values())).alpha[0] *= 1.5
    fields = compare_fields(network, torch.rand(1, 3, *SIZE))
    assert list(fields) == ['learned', title]
    assert [field.name for field in fields['learned']] == [
        *(f'output {k}' for k in range(len(maps) - 1)), 'logit']
    assert [field.size for field in fields[title]] == maps
    for learned, stock in zip(fields['learned'][:-1], fields[title]):
        assert learned.theoretical.extent[0] > 1.1 * stock.theoretical.extent[0]
        assert learned.theoretical.extent[1] == stock.theoretical.extent[1]
