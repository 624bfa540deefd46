"""The picture of receptive fields, and the table."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from rich.console import Console
from torch import nn

from mmseg_dynopool.analysis.fields import compare_fields, measure_fields
from mmseg_dynopool.data.pipeline import ImagePipeline
from mmseg_dynopool.report.receptive_field import draw_fields, field_table, prepare_image
from support.networks import Pooled
from support.networks import kaiming_segmentor as model

SIZE = (64, 96)


@pytest.fixture(scope='module')
def fields():
    torch.manual_seed(0)
    return compare_fields(model(scale=dict(stream1=(0.25, 0.5))), torch.rand(1, 3, *SIZE))


def test_the_picture_shows_the_numbers(fields):
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    figure = draw_fields(fields, image)
    assert len(figure.axes) == 2 * 5 + 1
    drawn = [(title, field) for title, row in fields.items() for field in row]
    for axis, (title, field) in zip(figure.axes, drawn):
        text = axis.get_title()
        assert '{}, {}: map {} x {}'.format(title, field.name, *field.size) in text
        assert '95 %: {} x {}'.format(*field.effective.extent) in text
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
        assert '{} x {}'.format(*field.effective.extent) in printed.get()
    assert 'logit' in printed.get() and 'r = 0.5' in printed.get()


def test_images_go_through_the_test_pipeline(tmp_path):
    network = model()
    network.cfg = ConfigDict(test_pipeline=[
        dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64), keep_ratio=False),
        dict(type='LoadAnnotations'), dict(type='PackSegInputs')])
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((32, 30, 3), (10, 20, 30), np.uint8))
    shown, batch = prepare_image(network, ImagePipeline(network.cfg)(tmp_path / 'a.png')[1])
    assert shown.shape == (64, 96, 3) and shown[5, 5].tolist() == [10, 20, 30]
    assert batch.shape[0:2] == (1, 3) and batch.dtype == torch.float32
    network.cfg = ConfigDict()
    with pytest.raises(ValueError, match='neither test_pipeline nor'):
        ImagePipeline(network.cfg)


def test_a_unit_that_is_off_has_no_effective_field():
    off = Pooled(0.5)
    nn.init.zeros_(off.conv.weight)
    found = measure_fields(off, torch.rand(1, 3, 32, 32))
    assert found[0].effective is found[0].core is None
    assert found[0].theoretical.extent == (6, 6) and not found[0].gradient.any()
    figure = draw_fields({'learned': found}, np.zeros((32, 32, 3), np.uint8))
    assert 'no gradient' in figure.axes[0].get_title() and len(figure.axes[0].patches) == 1
    assert field_table({'learned': found}).row_count == 1
