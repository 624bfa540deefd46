"""Which input bins make up an output bin, for DynOPool and Shape Adaptor (supplement, Figure 1)."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from mmseg_dynopool.analysis.aggregation import Aggregation, check_cell, compute_aggregations
from mmseg_dynopool.files import check_png

from .figures import save_figure

_GRID = '#8c510a'
_CAPTION = (
    'Numbers: weight of each input bin in the hatched output bin, the Jacobian of the operator; '
    'no number: no weight. The weights of a panel sum to 1.\n'
    'Brown: grid of the output. For DynOPool the mean of the four queries is shown: the operator '
    'keeps their maximum. For Shape Adaptor the pooled\n'
    'branch averages its windows: with max pooling it keeps the maximum of each.')


def draw_aggregations(aggregations: Sequence[Aggregation], cell: Sequence[int],
                      scale: float) -> Figure:
    """The weights of the output bin ``cell``, a panel for each operator.

    All operators have the same input and output size; ``scale`` is their target ratio.
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


def _draw_panel(axis: Axes, aggregation: Aggregation, cell: Sequence[int], highest: float
                ) -> AxesImage:
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
    axis.hlines(np.linspace(0, height, out_h + 1), 0, width, color=_GRID, lw=1.8)
    axis.vlines(np.linspace(0, width, out_w + 1), 0, height, color=_GRID, lw=1.8)
    place = (cell[1] * width / out_w, cell[0] * height / out_h), width / out_w, height / out_h
    axis.add_patch(Rectangle(*place, fill=False, edgecolor=_GRID, hatch='///', alpha=0.45,
                             gid='cell'))
    axis.add_patch(Rectangle(*place, fill=False, edgecolor=_GRID, lw=3.5))
    bins, rows, columns = aggregation.reach(cell)
    have = 'bin has' if bins == 1 else 'bins have'
    axis.set_title(f'{aggregation.title}\n{bins} {have} a weight, in a block of {rows} x '
                   f'{columns}', fontsize=10)
    axis.set(xlabel='column of the input (bins)', ylabel='row of the input (bins)')
    axis.set_xticks(np.arange(width) + 0.5, [*map(str, range(width))])
    axis.set_yticks(np.arange(height) + 0.5, [*map(str, range(height))])
    axis.tick_params(length=0)
    return image


def add_options(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument('--out', required=True, type=Path, metavar='FILE.png', help='the picture')


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    check_png(args.out)
    aggregations = compute_aggregations(args.size, args.scale, tuple(args.ratios))
    output_size = aggregations[0].weights.shape[:2]
    cell = check_cell(args.cell or [n // 3 for n in output_size], output_size)
    save_figure(draw_aggregations(aggregations, cell, args.scale), args.out)
    for aggregation in aggregations:
        print('{}: {} bins in a block of {} x {}'.format(aggregation.title,
                                                         *aggregation.reach(cell)))
    print(f'ok: {args.out}')
