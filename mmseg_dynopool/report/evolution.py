"""How scales, sizes and cost of runs moved during their training."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mmseg_dynopool.analysis.logs import RunLog

from .colors import AXIS_COLORS

COST_COLOR = 'black'
STYLES = ('-', '--', ':', '-.', (0, (6, 2, 1, 2, 1, 2)), (0, (1, 3)), (0, (8, 4)), (0, (3, 1)))
_STRIDE_2 = dict(color='0.55', lw=0.8)
# By key of dynopool/<instance>/<key>_h: title of the row, label of the axis.
_ROWS = {
    'scale': 'scale r = 1 / alpha',
    'size': 'feature size (pixels)',
    'grad_snr': "alpha's gradient\n|mean| / std",
}
_COSTS = {'gmacs': 'GMACs ($10^9$ multiply-adds)\nbefore rounding of sizes',
          'gmacs_ratio': 'GMACs / GMACs at the start'}


def evolution(runs: Sequence[RunLog]) -> dict[str, dict[tuple[str, str], tuple]]:
    """The curves of a picture.

    Args:
        runs: one or several.

    Returns:
        ``{panel: {(run, axis): (iterations, values)}}``; panels are ``'scale stream1'``,
        ``'size stream1'``, ``'grad_snr stream1'``, ... for each instance of any run, and
        ``'gmacs'`` and ``'gmacs_ratio'``, whose axis is ``''``. Panels without a value are left
        out.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.instances()))
    names.sort(key=lambda name: not name.startswith('stem'))  # nearest to the image first
    keys = {f'{row} {name}': {axis: f'dynopool/{name}/{row}_{axis}' for axis in 'hw'}
            for row in _ROWS for name in names}
    keys |= {cost: {'': cost} for cost in _COSTS}
    panels = {}
    for panel, axes in keys.items():
        curves = {(run.name, axis): run.curve(key) for run in runs for axis, key in axes.items()}
        panels[panel] = {label: curve for label, curve in curves.items() if len(curve[0])}
    return {panel: curves for panel, curves in panels.items() if curves}


def evolution_size(runs: Sequence[RunLog]) -> tuple[float, float]:
    """Width and height in inches that :func:`draw_evolution` wants."""
    rows = _grid(evolution(runs))
    width = max(7.5, 3.1 * max(map(len, rows.values())))
    return width, 2.3 * len(rows) + 0.9 + 0.2 * -(-(3 + len(runs)) // _legend_columns(runs, width))


def draw_evolution(figure: FigureBase, runs: Sequence[RunLog]) -> None:
    """Draw :func:`evolution`: a column per instance, h and w in two colours, a style per run.

    Args:
        figure: a figure or a part of one, with ``layout='constrained'``.
        runs: at most eight, with different names.

    Raises:
        ValueError: there are more runs than line styles.
    """
    if len(runs) > len(STYLES):
        raise ValueError(f'one picture shows at most {len(STYLES)} runs, got {len(runs)}; draw '
                         'some of them')
    panels = evolution(runs)
    style = {run.name: STYLES[i] for i, run in enumerate(runs)}
    rows = _grid(panels)
    # Two grid columns per instance, so that the two panels of the cost share the width.
    columns = 2 * max(map(len, rows.values()))
    grid = figure.add_gridspec(len(rows), columns)
    for i, (row, members) in enumerate(rows.items()):
        width = columns // len(members) if row == 'cost' else 2
        shared = None
        for j, panel in enumerate(members):
            axis = figure.add_subplot(grid[i, j * width:(j + 1) * width], sharey=shared)
            if row in ('scale', 'grad_snr'):
                shared = axis
            _draw_panel(axis, panel, panels[panel], style, first=j == 0, last=i + 1 == len(rows))
    axes = [Line2D([], [], color=color, label=label) for color, label in (
        (AXIS_COLORS['h'], 'height h'), (AXIS_COLORS['w'], 'width w'))]
    named = [Line2D([], [], color='dimgray', linestyle=style[run.name], label=run.name)
             for run in runs]
    stock = Line2D([], [], **_STRIDE_2, label='stride 2')
    columns = _legend_columns(runs, figure.bbox.width / figure.get_figure(root=True).dpi)
    legend = figure.legend(handles=[*axes, stock, *named], loc='outside lower center',
                           ncols=columns)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a run's name is no formula
    figure.suptitle('Learned shapes over the training')


def _legend_columns(runs: Sequence[RunLog], inches: float) -> int:
    """As many as fit, by the longest name."""
    longest = max(len('height h'), *(len(run.name) for run in runs))
    return max(1, min(6, 3 + len(runs), int(inches / (0.095 * longest + 0.75))))


def _grid(panels: dict) -> dict[str, list[str]]:
    """Panels by row."""
    rows = {row: [panel for panel in panels if panel.startswith(f'{row} ')] for row in _ROWS}
    rows['cost'] = [panel for panel in panels if panel in _COSTS]
    return {row: members for row, members in rows.items() if members}


def _draw_panel(axis, panel: str, curves: dict, style: dict, first: bool, last: bool) -> None:
    row, _, name = panel.partition(' ')
    steps = dict(drawstyle='steps-post') if row == 'size' else {}
    for (run, side), (iterations, values) in curves.items():
        alone = dict(marker='o', ms=3) if len(iterations) == 1 else {}
        axis.plot(iterations, values, color=AXIS_COLORS.get(side, COST_COLOR),
                  linestyle=style[run], lw=1.4, label=f'{run} {side}'.strip(), **steps, **alone)
    if row == 'scale':
        axis.axhline(0.5, **_STRIDE_2, zorder=1)
        axis.set_title(name, fontsize=11)
    if row == 'grad_snr':
        axis.set_yscale('log')
    if row == 'size':
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if row in _COSTS or first:
        axis.set_ylabel(_COSTS.get(row) or _ROWS[row])
    elif row != 'size':
        axis.tick_params(labelleft=False)
    if last:
        axis.set_xlabel('iteration')
    end = max(int(np.max(iterations)) for iterations, _ in curves.values())
    axis.set_xlim(0, end * 1.02)
    axis.grid(color='0.93')
    axis.set_axisbelow(True)
    axis.spines[['top', 'right']].set_visible(False)
