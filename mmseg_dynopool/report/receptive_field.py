"""Receptive fields of each feature map, learned beside stock, on an image."""

import argparse
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmseg.models import BaseSegmentor
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mmseg_dynopool.analysis.fields import ReceptiveField, compare_fields
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.cli.options import add_cfg_options, add_device, check_device, check_segmentor
from mmseg_dynopool.config import read_config
from mmseg_dynopool.data.images import to_picture
from mmseg_dynopool.data.pipeline import ImagePipeline
from mmseg_dynopool.files import check_png

from .figures import ORANGE, SKY_BLUE, save_figure

# The boxes of a ReceptiveField by their names, as drawn.
_BOXES: dict[str, dict[str, Any]] = {
    'core': dict(edgecolor=SKY_BLUE, ls=':', label='effective, middle 50 % along each axis'),
    'effective': dict(edgecolor=SKY_BLUE, ls='-', label='effective, middle 95 %'),
    'theoretical': dict(edgecolor=ORANGE, ls='--',
                        label='theoretical (out of sight where it is larger)'),
}


def prepare_image(model: BaseSegmentor, packed: dict) -> tuple[np.ndarray, Tensor]:
    """What an `ImagePipeline` made of an image, as a picture and as the network gets it.

    Returns:
        The resized image ``(H, W, 3)``, BGR, 8 bits, and the normalized, maybe padded batch
        ``(1, C, H, W)`` on the network's device.
    """
    shown = to_picture(packed['inputs'].permute(1, 2, 0).numpy())
    with torch.no_grad():
        batch = model.data_preprocessor(
            dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), False)
    return shown, batch['inputs']


def draw_fields(fields: dict[str, list[ReceptiveField]], image: np.ndarray) -> Figure:
    """`compare_fields` on a BGR image ``(H, W, 3)``: a row for each network."""
    rows, columns = len(fields), len(next(iter(fields.values())))
    height, width = image.shape[:2]
    tall = min(max(height / width, 0.4), 2)
    wide = 2.6 if tall > 0.7 else 3.6
    figure = Figure(figsize=(wide * columns + 1, rows * (0.88 * wide * tall + 0.75) + 0.7),
                    layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False)
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    for row, (title, units) in zip(axes, fields.items(), strict=True):
        for axis, field in zip(row, units, strict=True):
            axis.imshow(gray, cmap='gray', vmin=0, vmax=400)
            heat = np.sqrt(field.gradient / (field.gradient.max() or 1))
            shown = axis.imshow(heat, cmap='inferno', vmin=0, vmax=1,
                                alpha=np.clip(3 * heat, 0, 1))
            for name, look in _BOXES.items():
                if box := getattr(field, name):
                    axis.add_patch(Rectangle((box.left - 0.5, box.top - 0.5),
                                             *reversed(box.extent), fill=False, lw=2, **look))
            axis.set_title(_describe(title, field), fontsize=8)
            axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
            axis.tick_params(labelsize=7)
    figure.supxlabel('pixels', fontsize=8)
    figure.supylabel('pixels', fontsize=8)
    bar = figure.colorbar(shown, ax=axes, fraction=0.02)
    bar.set_label('square root of |gradient| / highest |gradient|', fontsize=8)
    bar.ax.tick_params(labelsize=7)
    handles = [Rectangle((0, 0), 1, 1, fill=False, lw=2, **look) for look in _BOXES.values()]
    figure.legend(handles=handles, loc='outside lower center', ncols=3, fontsize=8)
    figure.suptitle('Receptive field of the centre unit (height x width, fields in pixels of the '
                    'input)', fontsize=10)
    return figure


def _describe(title: str, field: ReceptiveField) -> str:
    lines = ['{}, {}: map {} x {}'.format(title, field.name, *field.size)]
    if field.effective is None or field.core is None:
        lines.append('no gradient: the unit is off')
    else:
        lines.append('50 %: {} x {}, 95 %: {} x {}'.format(*field.core.extent,
                                                           *field.effective.extent))
    if field.theoretical is not None:
        lines.append('theoretical: {} x {}'.format(*field.theoretical.extent))
    return '\n'.join(lines)


def field_table(fields: dict[str, list[ReceptiveField]]) -> Table:
    """Extents in pixels, height x width."""
    table = Table(title='receptive fields in pixels of the input (height x width)')
    table.add_column('output')
    table.add_column('scales')
    for column in ('map', 'theoretical', 'middle 50 %', 'middle 95 %'):
        table.add_column(column, justify='right')
    for row in zip(*fields.values(), strict=True):
        for title, field in zip(fields, row):
            boxes = (field.theoretical, field.core, field.effective)
            table.add_row(field.name, title, '{} x {}'.format(*field.size),
                          *('{} x {}'.format(*box.extent) if box else '-' for box in boxes))
    return table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint or .safetensors file')
    parser.add_argument('image', help='an image')
    parser.add_argument('--out', required=True, help='PNG file to write')
    add_device(parser)
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    cfg = read_config(args.config, args.cfg_options)
    check_segmentor(cfg, 'visualize receptive-field')
    check_device(args.device)
    check_png(args.out)
    _, packed = ImagePipeline(cfg)(args.image)
    model = load_network(cfg, args.checkpoint, args.device, scales=True)
    shown, batch = prepare_image(model, packed)
    fields = compare_fields(model, batch)
    # A padded batch is larger than the image; the picture shows what the network saw.
    bottom, right = (n - m for n, m in zip(batch.shape[2:], shown.shape))
    shown = np.pad(shown, ((0, bottom), (0, right), (0, 0)))
    save_figure(draw_fields(fields, shown), args.out)
    Console().print(field_table(fields))
    print(f'picture: {args.out}')
