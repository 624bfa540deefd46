"""Which input bins make up an output bin, for DynOPool and Shape Adaptor (supplement, Figure 1).

The weights are the Jacobians of the package's own operators. A maximum picks one of what it
compares, so the picture shows the average in its place: for DynOPool the mean of the four queries
that :func:`mmseg_dynopool.ops.read_queries` reads, for Shape Adaptor the average of each window of
its pooled branch.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from mmseg_dynopool.files import check_png, write_file
from mmseg_dynopool.ops import check_ratios, pooled_size, read_queries, shape_adaptor2d

# Numbers in smaller bins could not be read.
_LARGEST_SIDE = 16
# Of positions: a query on a pixel's centre may read its neighbour with a weight of 1e-16.
_ROUNDING = 1e-12
_GRID = '#8c510a'
_CAPTION = (
    'Numbers: weight of each input bin in the hatched output bin, the Jacobian of the operator; '
    'no number: no weight. The weights of a panel sum to 1.\n'
    'Brown: grid of the output. For DynOPool the mean of the four queries is shown: the operator '
    'keeps their maximum. For Shape Adaptor the pooled\n'
    'branch averages its windows: with max pooling it keeps the maximum of each.')


@dataclass(frozen=True)
class Aggregation:
    """What an operator makes an output bin of.

    Attributes:
        title: name of the operator.
        weights: ``(H_out, W_out, H, W)``: ``weights[i, j]`` are those of output bin (i, j).
    """

    title: str
    weights: np.ndarray

    def reach(self, cell: Sequence[int]) -> tuple[int, int, int]:
        """Bins with a weight, and height and width of the block that holds them, in bins."""
        rows, columns = np.nonzero(self.weights[tuple(cell)])
        return len(rows), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def compute_weights(operator: Callable[[Tensor], Tensor], size: Sequence[int]) -> np.ndarray:
    """Jacobian of a linear operator on feature maps.

    Args:
        operator: maps ``(1, 1, H, W)`` to ``(1, 1, H_out, W_out)``, in float64.
        size: ``(H, W)`` of the input.

    Returns:
        ``(H_out, W_out, H, W)``, in float64; what is only rounding is 0.
    """
    image = torch.zeros(1, 1, *size, dtype=torch.float64)
    weights = torch.autograd.functional.jacobian(operator, image)[0, 0, :, :, 0, 0].numpy()
    weights[np.abs(weights) < _ROUNDING] = 0
    return weights


def compute_aggregations(size: Sequence[int], scale: float,
                         ratios: Sequence[float] = (0.5, 1.0)) -> list[Aggregation]:
    """The weights of DynOPool and of Shape Adaptor at one target ratio.

    Args:
        size: ``(H, W)`` of the input in bins.
        scale: the target ratio of both axes.
        ratios: pre-defined ratios of Shape Adaptor's branches.

    Raises:
        ValueError: a size is out of range, or ``scale`` does not lie within ``ratios``.
    """
    if any(not 2 <= n <= _LARGEST_SIDE for n in size):
        raise ValueError(f'--size must be two numbers of bins from 2 to {_LARGEST_SIDE}, got '
                         f'{tuple(size)}: the picture has a number in each bin')
    low, high = check_ratios(ratios)
    if not (math.isfinite(scale) and low <= scale <= high):
        raise ValueError(f'--scale {scale!r} lies outside of the ratios ({low:g}, {high:g}) that '
                         'Shape Adaptor mixes; choose one between them, or wider --ratios R1 R2')
    output_size = pooled_size(size, (1 / scale, 1 / scale))
    weight = (scale - low) / (high - low)

    def dynopool(image):
        return F.avg_pool2d(read_queries(image, output_size), 2)

    def shape_adaptor(image):
        return shape_adaptor2d(image, weight, output_size, ratios, pooling='average')

    return [
        Aggregation('DynOPool', compute_weights(dynopool, size)),
        Aggregation(f'Shape Adaptor: {1 - weight:.3g} x branch r = {low:g} + {weight:.3g} x branch '
                    f'r = {high:g}', compute_weights(shape_adaptor, size))
    ]


def check_cell(cell: Sequence[int], output_size: Sequence[int]) -> tuple[int, int]:
    """Check the row and column of an output bin.

    Raises:
        ValueError: there is no such bin.
    """
    if any(not 0 <= k < n for k, n in zip(cell, output_size, strict=True)):
        raise ValueError(f'--cell {tuple(cell)} lies outside of the output of {output_size[0]} x '
                         f'{output_size[1]} bins; rows and columns count from 0')
    return tuple(cell)


def draw_aggregations(aggregations: Sequence[Aggregation], cell: Sequence[int],
                      scale: float) -> Figure:
    """Draw the weights of one output bin, a panel for each operator.

    Args:
        aggregations: operators from one input size to one output size.
        cell: row and column of the shaded output bin.
        scale: the target ratio, for the title.
    """
    out_h, out_w, height, width = aggregations[0].weights.shape
    highest = max(a.weights[tuple(cell)].max() for a in aggregations)
    side = max(4.6, 0.48 * width)
    figure = Figure(figsize=(2 * side + 1.2, side * height / width + 1.5), layout='constrained')
    figure.suptitle(f'Input bins that make up output bin {tuple(cell)}: target ratio {scale:g}, '
                    f'{height} x {width} to {out_h} x {out_w} bins', fontsize=12)
    axes = figure.subplots(1, len(aggregations))
    for axis, aggregation in zip(axes, aggregations, strict=True):
        image = _draw_panel(axis, aggregation, cell, highest)
    figure.colorbar(image, ax=axes, label='weight of the input bin', shrink=0.8, pad=0.01)
    figure.supxlabel(_CAPTION, fontsize=8.5, x=0.01, ha='left')
    return figure


def _draw_panel(axis: Axes, aggregation: Aggregation, cell, highest):
    out_h, out_w, height, width = aggregation.weights.shape
    weights = aggregation.weights[tuple(cell)]
    image = axis.imshow(weights, cmap='Blues', vmin=0, vmax=highest, extent=(0, width, height, 0))
    for row, column in zip(*np.nonzero(weights)):
        value = weights[row, column]
        ground = withStroke(linewidth=2.5, foreground=image.cmap(image.norm(value)))
        axis.text(column + 0.5, row + 0.5, f'{value:.3f}'.lstrip('0'), ha='center', va='center',
                  fontsize=9, color='white' if value > 0.6 * highest else 'black', gid='weight',
                  path_effects=[ground])
    axis.hlines(range(1, height), 0, width, color='0.8', lw=0.7)
    axis.vlines(range(1, width), 0, height, color='0.8', lw=0.7)
    axis.hlines([i * height / out_h for i in range(out_h + 1)], 0, width, color=_GRID, lw=1.8)
    axis.vlines([j * width / out_w for j in range(out_w + 1)], 0, height, color=_GRID, lw=1.8)
    corner = cell[1] * width / out_w, cell[0] * height / out_h
    axis.add_patch(Rectangle(corner, width / out_w, height / out_h, fill=False, hatch='///',
                             edgecolor=_GRID, alpha=0.45, gid='cell'))
    axis.add_patch(Rectangle(corner, width / out_w, height / out_h, fill=False, lw=3.5,
                             edgecolor=_GRID))
    bins, rows, columns = aggregation.reach(cell)
    have = 'bin has' if bins == 1 else 'bins have'
    axis.set_title(f'{aggregation.title}\n{bins} {have} a weight, in a block of {rows} x '
                   f'{columns}', fontsize=10)
    axis.set_xlabel('column of the input (bins)')
    axis.set_ylabel('row of the input (bins)')
    axis.set_xticks([k + 0.5 for k in range(width)], range(width))
    axis.set_yticks([k + 0.5 for k in range(height)], range(height))
    axis.tick_params(length=0)
    return image


def add_options(parser):
    """Add the command's options."""
    parser.add_argument('--size', nargs=2, type=int, default=(8, 8), metavar=('H', 'W'),
                        help='size of the input in bins, default 8 8')
    parser.add_argument('--scale', type=float, default=0.625, metavar='R',
                        help='target ratio of both operators, default 0.625')
    parser.add_argument('--ratios', nargs=2, type=float, default=(0.5, 1.0), metavar=('R1', 'R2'),
                        help="ratios of Shape Adaptor's branches, default 0.5 1")
    parser.add_argument('--cell', nargs=2, type=int, metavar=('I', 'J'),
                        help='row and column of the shaded output bin, from 0; default: a third '
                        'of the way from the top left')
    parser.add_argument('--out', required=True, type=Path, metavar='FILE.png',
                        help='the picture')


def run(args):
    """Run the command."""
    check_png(args.out)
    aggregations = compute_aggregations(args.size, args.scale, tuple(args.ratios))
    output_size = aggregations[0].weights.shape[:2]
    cell = check_cell(args.cell or [n // 3 for n in output_size], output_size)
    content = io.BytesIO()
    draw_aggregations(aggregations, cell, args.scale).savefig(content, dpi=100, format='png')
    write_file(args.out, content.getvalue())
    for aggregation in aggregations:
        print('{}: {} bins in a block of {} x {}'.format(aggregation.title,
                                                         *aggregation.reach(cell)))
    print(f'ok: {args.out}')
