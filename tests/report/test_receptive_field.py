"""Effective fields, the picture and the table."""

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from rich.console import Console
from torch import nn

from mmseg_dynopool.analysis.fields import ReceptiveField, compare_fields, measure_fields
from mmseg_dynopool.export import freeze_pools
from mmseg_dynopool.report.receptive_field import draw_fields, field_table, prepare_image
from support.networks import Pooled
from support.toys import segmentor_config

SIZE = (64, 96)


def model(**options):
    built = MODELS.build(segmentor_config(**options))
    for module in built.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    built.eval()
    return built


@pytest.fixture(scope='module')
def fields():
    torch.manual_seed(0)
    return compare_fields(model(scale=dict(stream1=(0.25, 0.5))), torch.rand(1, 3, *SIZE))


def test_a_convolution_behind_a_pool():
    network = Pooled((0.25, 0.5))
    nn.init.constant_(network.conv.weight, 0.5)
    field, = measure_fields(network, torch.rand(1, 3, 32, 32))
    assert field.name == 'stream 0' and field.size == (8, 16)
    # 3 x 3 cells of 4 x 2 pixels, a pixel (or two halves of two) of each, all the same weight.
    assert field.theoretical == (12, 24, 14, 20) and field.theoretical_extent == (12, 6)
    assert field.gradient.sum() == pytest.approx(1)
    cells = field.gradient[12:24, 14:20].reshape(3, 4, 3, 2).sum((1, 3))
    assert cells == pytest.approx(np.full((3, 3), 1 / 9))  # and so nothing elsewhere
    assert field.core_extent[0] < field.effective_extent[0] <= 12


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
        assert learned.theoretical_extent[0] > 1.2 * stock.theoretical_extent[0]
        assert learned.theoretical_extent[1] == stock.theoretical_extent[1]


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


def test_the_picture_shows_the_numbers(fields):
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    figure = draw_fields(fields, image)
    assert len(figure.axes) == 2 * 5 + 1
    drawn = [(title, field) for title, row in fields.items() for field in row]
    for axis, (title, field) in zip(figure.axes, drawn):
        text = axis.get_title()
        assert '{}, {}: map {} x {}'.format(title, field.name, *field.size) in text
        assert '95 %: {} x {}'.format(*field.effective_extent) in text
        heat = np.asarray(axis.images[1].get_array())
        assert heat**2 * field.gradient.max() == pytest.approx(field.gradient)
        boxes = {(p.get_y() + 0.5, p.get_y() + 0.5 + p.get_height(), p.get_x() + 0.5,
                  p.get_x() + 0.5 + p.get_width()) for p in axis.patches}
        assert boxes == {box for box in (field.effective, field.core, field.theoretical) if box}
        assert axis.get_xlim() == (-0.5, 95.5) and axis.get_ylim() == (63.5, -0.5)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any('95 %' in label for label in labels)
    assert any('theoretical' in label for label in labels)


def test_the_table(fields):
    console = Console(width=100, record=True, quiet=False, file=None)
    with console.capture() as printed:
        console.print(field_table(fields))
    for field in fields['learned'] + fields['r = 0.5']:
        assert '{} x {}'.format(*field.effective_extent) in printed.get()
    assert 'logit' in printed.get() and 'r = 0.5' in printed.get()


def test_images_go_through_the_test_pipeline():
    network = model()
    network.cfg = ConfigDict(test_pipeline=[
        dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64), keep_ratio=False),
        dict(type='LoadAnnotations'), dict(type='PackSegInputs')])
    image = np.full((32, 30, 3), (10, 20, 30), np.uint8)
    shown, batch = prepare_image(network, image)
    assert shown.shape == (64, 96, 3) and shown[5, 5].tolist() == [10, 20, 30]
    assert batch.shape[0:2] == (1, 3) and batch.dtype == torch.float32
    network.cfg = ConfigDict()
    with pytest.raises(ValueError, match='neither test_pipeline nor'):
        prepare_image(network, image)


def test_a_unit_that_is_off_has_no_effective_field():
    off = Pooled(0.5)
    nn.init.zeros_(off.conv.weight)
    found = measure_fields(off, torch.rand(1, 3, 32, 32))
    assert found[0].effective is found[0].core is None
    assert found[0].theoretical_extent == (6, 6) and not found[0].gradient.any()
    figure = draw_fields({'learned': found}, np.zeros((32, 32, 3), np.uint8))
    assert 'no gradient' in figure.axes[0].get_title() and len(figure.axes[0].patches) == 1
    assert field_table({'learned': found}).row_count == 1


def test_bad_values_are_refused():
    config = segmentor_config()
    config.pop('gmacs_weight')
    config['type'], config['backbone']['type'] = 'EncoderDecoder', 'HRNet'
    config['backbone'].pop('dynopool')
    with pytest.raises(ValueError, match='HRNet holds no DynOPool'):
        compare_fields(MODELS.build(config), torch.rand(1, 3, *SIZE))
    diverged = Pooled(0.5)
    nn.init.constant_(diverged.conv.weight, float('inf'))
    with pytest.raises(ValueError, match='centre unit of stream 0 is not finite'):
        measure_fields(diverged, torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r'image must have shape \(1, C, H, W\), got \(3, 32, 32'):
        measure_fields(diverged, torch.rand(3, 32, 32))


def test_extents_are_heights_and_widths():
    field = ReceptiveField('x', (1, 1), np.ones((1, 1)), (1, 4, 2, 9), (2, 3, 4, 6), None)
    assert field.effective_extent == (3, 7) and field.core_extent == (1, 2)
    assert field.theoretical_extent is None
