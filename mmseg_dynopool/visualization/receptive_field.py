"""Receptive fields of each stream, learned beside stock, on an image."""

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mmseg_dynopool.complexity.model import set_scale_
from mmseg_dynopool.datasets.files import write_file
from mmseg_dynopool.engine import (
    ConfigOptions,
    check_device,
    load_segmentor,
    read_config,
    read_image,
)
from mmseg_dynopool.layers import all_pools

from .support import centre, outputs_of, support

_MASS = 0.95
_BOX_COLOR, _SUPPORT_COLOR = '#56B4E9', '#E69F00'  # sky blue and orange: apart for all eyes


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive field of the centre unit of one output, in pixels of the network's input.

    Attributes:
        name: of the output, e.g. ``'stream 2'``.
        size: ``(H, W)`` of the feature map.
        gradient: ``(H, W)`` of the image: absolute gradient of the sum of the unit's channels
            (or of one logit), averaged over the image's channels, divided by its sum.
        effective: ``(top, bottom, left, right)``: along each axis the pixels that remain when
            2.5 % of the gradient are cut off at either end, those behind the last excluded.
        theoretical: the same for the pixels that the unit can depend on, borders of the image
            not regarded; None where it was not computed.
    """

    name: str
    size: tuple[int, int]
    gradient: np.ndarray
    effective: tuple[int, int, int, int]
    theoretical: tuple[int, int, int, int] | None

    @property
    def effective_extent(self) -> tuple[int, int]:
        """``(height, width)`` of the effective field, each axis with 95 % of the gradient."""
        return _extent(self.effective)

    @property
    def theoretical_extent(self) -> tuple[int, int] | None:
        """``(height, width)`` of the theoretical field."""
        return None if self.theoretical is None else _extent(self.theoretical)


def measure_fields(network: nn.Module, image: Tensor, head: Callable | None = None
                   ) -> list[ReceptiveField]:
    """Receptive fields of the centre units of a network's outputs.

    Effective fields are gradients (Luo et al., "Understanding the Effective Receptive Field in
    Deep Convolutional Neural Networks", NeurIPS 2016), theoretical ones those of
    :func:`mmseg_dynopool.visualization.support.support`.

    Args:
        network: takes ``image`` and returns a feature map or several, by stream; it is copied.
        image: ``(1, C, H, W)``, normalized, on the network's device.
        head: takes the list of features and returns logits; the field of the highest logit of
            the centre is added as ``'logit'``.

    Raises:
        ValueError: ``image`` is not one image, a gradient is zero or not finite, or the network
            holds layers whose support is not known.
    """
    if image.dim() != 4 or len(image) != 1:
        raise ValueError(f'image must have shape (1, C, H, W), got {tuple(image.shape)}')
    network = copy.deepcopy(network)
    network.eval()
    network.requires_grad_(False)
    image = image.detach().clone().requires_grad_()
    outputs = outputs_of(network, image)
    units = [(f'stream {k}', output, centre(output).sum()) for k, output in enumerate(outputs)]
    boxes = [(*rows, *columns) for rows, columns in support(network, image.shape[2:])]
    if head is not None:
        logits = head(outputs)
        units.append(('logit', logits, centre(logits).max()))
        boxes.append(None)
    return [_field(name, output, unit, image, box)
            for (name, output, unit), box in zip(units, boxes, strict=True)]


def _field(name, output, unit, image, box) -> ReceptiveField:
    gradient, = torch.autograd.grad(unit, image, retain_graph=True)
    gradient = gradient[0].abs().mean(0).double().cpu().numpy()
    total = gradient.sum()
    if not np.isfinite(total) or total == 0:
        raise ValueError(f'the gradient of the centre unit of {name} is '
                         f'{"zero" if total == 0 else "not finite"}: nothing in the image moves '
                         'it; take another image, or a checkpoint from before the weights died')
    gradient /= total
    effective = (*_middle(gradient.sum(1)), *_middle(gradient.sum(0)))
    return ReceptiveField(name, tuple(output.shape[2:]), gradient, effective, box)


def _middle(profile: np.ndarray) -> tuple[int, int]:
    """First pixel and the one behind the last of the middle 95 % of a profile of sum 1."""
    tail = (1 - _MASS) / 2
    ahead, behind = np.cumsum(profile), np.cumsum(profile[::-1])
    return int((ahead <= tail).sum()), len(profile) - int((behind <= tail).sum())


def _extent(box) -> tuple[int, int]:
    return box[1] - box[0], box[3] - box[2]


def compare_fields(model: nn.Module, image: Tensor) -> dict[str, list[ReceptiveField]]:
    """Fields of a segmentor's streams and centre logit, ``'learned'`` and ``'stock'``.

    The stock network has the same weights, with every scale at 0.5.

    Args:
        model: a segmentor with DynOPools in its backbone; it is copied, not changed.
        image: ``(1, 3, H, W)``, as the data preprocessor returns it.

    Raises:
        ValueError: the backbone holds no DynOPool; see :func:`measure_fields`.
    """
    if not all_pools(getattr(model, 'backbone', nn.Module())):
        raise ValueError(f'{type(getattr(model, "backbone", model)).__name__} holds no DynOPool: '
                         'there is no learned field to show; give a config with '
                         "backbone=dict(type='DynOPoolHRNet') and its checkpoint")
    model = copy.deepcopy(model)
    model.requires_grad_(False)
    fields = {}
    for title in ('learned', 'stock'):
        if title == 'stock':
            for pool in all_pools(model).values():
                set_scale_(pool, (0.5, 0.5))
        fields[title] = measure_fields(model.backbone, image, lambda x: _logits(model, x))
    return fields


def _logits(model, features: list[Tensor]) -> Tensor:
    if model.with_neck:
        features = model.neck(features)
    heads = model.decode_head
    heads = heads if isinstance(heads, nn.ModuleList) else [heads]
    logits = heads[0](features)
    for head in heads[1:]:  # a cascade
        logits = head(features, logits)
    return logits


def prepare_image(model: nn.Module, image: np.ndarray) -> tuple[np.ndarray, Tensor]:
    """An image as the network gets it in a test.

    Args:
        model: a segmentor made by :func:`mmseg_dynopool.engine.load_segmentor`.
        image: ``(H, W, 3)``, BGR, 8 bits.

    Returns:
        The image after the config's resizing, ``(H, W, 3)``, BGR, and the normalized, maybe
        padded batch ``(1, 3, H, W)`` on the network's device.

    Raises:
        ValueError: the config has no ``test_pipeline``.
    """
    transforms = model.cfg.get('test_pipeline')
    if not transforms:
        raise ValueError('the config has no test_pipeline; add it, the list of transforms of an '
                         'image')
    init_default_scope(model.cfg.get('default_scope', 'mmseg'))
    kinds = [t if isinstance(t['type'], str) else {**t, 'type': t['type'].__name__}
             for t in transforms]
    kept = [t for t in kinds if not t['type'].startswith('Load')]
    packed = Compose([dict(type='LoadImageFromNDArray'), *kept])(dict(img=image))
    shown = packed['inputs'].permute(1, 2, 0).numpy()
    with torch.no_grad():
        batch = model.data_preprocessor(
            dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), False)
    return shown, batch['inputs']


def draw_fields(fields: dict[str, list[ReceptiveField]], image: np.ndarray) -> Figure:
    """Draw fields on an image: a row for each network, a column for each output.

    Args:
        fields: of :func:`compare_fields`.
        image: ``(H, W, 3)``, BGR.
    """
    rows, columns = len(fields), len(next(iter(fields.values())))
    height, width = image.shape[:2]
    side = 2.9
    figure = Figure(figsize=(side * columns + 0.6, rows * (side * min(height / width, 2) + 0.75)
                             + 0.9), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False)
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    for row, (title, found) in zip(axes, fields.items(), strict=True):
        for axis, field in zip(row, found, strict=True):
            axis.imshow(gray, cmap='gray', vmin=0, vmax=400)
            heat = np.sqrt(field.gradient / field.gradient.max())
            shown = axis.imshow(heat, cmap='inferno', vmin=0, vmax=1,
                                alpha=np.clip(3 * heat, 0, 1))
            if field.theoretical is not None:
                _draw_box(axis, field.theoretical, _SUPPORT_COLOR, '--')
            _draw_box(axis, field.effective, _BOX_COLOR, '-')
            axis.set_title(f'{title}, {field.name}: {field.size[0]} x {field.size[1]}\n95 %: '
                           '{} x {} pixels'.format(*field.effective_extent), fontsize=9)
            axis.set_xlim(-0.5, width - 0.5)
            axis.set_ylim(height - 0.5, -0.5)
            axis.tick_params(labelsize=7)
    for axis in axes[-1]:
        axis.set_xlabel('pixels', fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel('pixels', fontsize=8)
    bar = figure.colorbar(shown, ax=axes, fraction=0.02)
    bar.set_label('|gradient|, square root of its\nshare of the highest', fontsize=8)
    bar.ax.tick_params(labelsize=7)
    handles = [Rectangle((0, 0), 1, 1, fill=False, lw=2, color=_BOX_COLOR,
                         label='effective: 95 % of the gradient along each axis'),
               Rectangle((0, 0), 1, 1, fill=False, lw=2, color=_SUPPORT_COLOR, ls='--',
                         label='theoretical (unseen where it contains the image)')]
    figure.legend(handles=handles, loc='outside lower center', ncols=2, fontsize=8)
    figure.suptitle('Receptive field of the centre unit (feature map height x width)')
    return figure


def _draw_box(axis, box, color: str, style: str) -> None:
    top, bottom, left, right = box
    axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False,
                             edgecolor=color, ls=style, lw=2))


def field_table(fields: dict[str, list[ReceptiveField]]) -> Table:
    """Extents in pixels, height x width."""
    table = Table(title='receptive fields in pixels of the input (height x width)')
    table.add_column('output')
    for kind in ('map', 'theoretical', 'effective (95 %)'):
        for title in fields:
            table.add_column(f'{kind}\n{title}', justify='right')
    for row in zip(*fields.values(), strict=True):
        cells = [[getattr(field, key) for field in row]
                 for key in ('size', 'theoretical_extent', 'effective_extent')]
        table.add_row(row[0].name, *('{} x {}'.format(*pair) if pair else '-'
                                     for pairs in cells for pair in pairs))
    return table


def add_options(parser):
    """Add the command's options."""
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint or .safetensors file')
    parser.add_argument('image', help='an image')
    parser.add_argument('--out', required=True, help='PNG file to write')
    parser.add_argument('--device', default='cuda:0' if torch.cuda.is_available() else 'cpu',
                        help='default: a GPU if there is one')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE',
                        help='override settings of the config')


def run(args):
    """Run the command."""
    read_config(args.config, args.cfg_options)
    check_device(args.device)
    pixels = read_image(args.image)
    model = load_segmentor(args.config, args.checkpoint, args.device, args.cfg_options)
    if not hasattr(model, 'backbone'):
        raise ValueError(f'{args.checkpoint!r} has no gradients: give the checkpoint that it was '
                         'exported from')
    shown, batch = prepare_image(model, pixels)
    fields = compare_fields(model, batch)
    # A padded batch is larger than the image; the picture shows what the network saw.
    bottom, right = (n - m for n, m in zip(batch.shape[2:], shown.shape))
    shown = np.pad(shown, ((0, bottom), (0, right), (0, 0)))
    content = io.BytesIO()
    draw_fields(fields, shown).savefig(content, dpi=100, format='png')
    write_file(args.out, content.getvalue())
    Console().print(field_table(fields))
    print(f'picture: {args.out}')
