"""What runs logged, drawn over the iterations: one figure for all, or one per panel."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import LineStyleType

from mmseg_dynopool.analysis.logs import RunLog, Series
from mmseg_dynopool.costs import LatencyCost
from mmseg_dynopool.layers.image import IMAGE

from .figures import AXIS_COLORS, BLUE, ORANGE, draw_legend

GRAY = '#767676'
STYLES: Sequence[LineStyleType] = (
    '-', '--', ':', '-.', (0, (6, 2, 1, 2, 1, 2)), (0, (1, 3)), (0, (8, 4)), (0, (3, 1)))
_LEVEL: dict[str, Any] = dict(color=GRAY, lw=1, ls=':', zorder=1)
_STRIDE_2, _WHOLE_IMAGE = 'stride 2', 'whole image'
_YLABELS = {
    'scale': 'scale r = 1 / alpha',
    'size': 'feature size (pixels)',
    'grad_snr': "alpha's gradient\n|mean| / std",
    'slope': 'slope of the loss\nby log(scale)',
    'gmacs': 'GMACs ($10^9$ multiply-adds)\nbefore rounding of sizes',
    'gmacs_ratio': 'GMACs / GMACs\nat the initial scales',
    'latency_ms': 'time by the latency model (ms)',
    'latency_ratio': 'time by the latency model\n/ time at the initial scales',
    'task_loss': 'loss',
    'mIoU': 'mIoU (%)',
}
_COSTS = {'gmacs': 'Multiply-adds before rounding', 'latency': 'Time by the latency model'}


class Curve(NamedTuple):
    """A line of a panel; ``noise`` is a standard error, drawn as a band around its points."""

    label: str
    points: Series
    color: str
    style: LineStyleType = '-'
    noise: Sequence[tuple[int, float]] = ()

    def band(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end at each point."""
        errors = dict(self.noise)
        values = np.array([[value, errors.get(step, 0.0)] for step, value in self.points])
        return values[:, 0] - values[:, 1], values[:, 0] + values[:, 1]


@dataclass
class Panel:
    """A quantity over the iterations, of a DynOPool where ``instance`` names one.

    Curves without points are omitted. ``limits`` are those of the y-axis.
    """

    quantity: str
    curves: list[Curve]
    instance: str = ''
    title: str = ''
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self.curves = [curve for curve in self.curves if curve.points]

    @property
    def level(self) -> tuple[float, str] | None:
        """The value of the stock network, and its label."""
        if self.quantity == 'scale':
            return (1.0, _WHOLE_IMAGE) if _is_image(self.instance) else (0.5, _STRIDE_2)
        return (0.0, '') if self.quantity.endswith('slope') else None

    @property
    def ylabel(self) -> str:
        """The quantity in words."""
        if self.quantity.endswith('_slope'):
            return 'slope of the loss\nper 1 % of the cost'
        return _YLABELS.get(self.quantity) or re.sub(
            '_ratio$', ', relative\nto the initial scales', self.quantity)

    def describe(self) -> str:
        """The panel in words, for those who cannot see it."""
        parts = []
        for label, points, _, _, noise in self.curves:
            error = f' \N{PLUS-MINUS SIGN} {noise[-1][1]:.2g}' if noise else ''
            parts.append(f'{label} from {points[0][1]:.4g} to {points[-1][1]:.4g}{error} at '
                         f'iteration {points[-1][0]}')
        return f'{self.title}: {"; ".join(parts)}'

    def draw(self, axis: Axes) -> None:
        """Draw the curves; heights and widths have the same colors everywhere."""
        for curve in self.curves:
            steps, values = zip(*curve.points)
            axis.plot(steps, values, label=curve.label, color=curve.color, linestyle=curve.style,
                      lw=1.6, ms=4, marker='o' if len(steps) < 12 else None,  # hardly a line
                      drawstyle='steps-post' if self.quantity == 'size' else 'default')
            if curve.noise:
                axis.fill_between(steps, *curve.band(), color=curve.color, alpha=0.2, lw=0,
                                  label='\N{PLUS-MINUS SIGN} standard error')
        if self.level:
            axis.axhline(self.level[0], label=self.level[1], **_LEVEL)
        if self.quantity == 'grad_snr':
            axis.set_yscale('log')
        elif self.quantity == 'size':
            axis.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if self.limits:
            axis.set_ylim(self.limits)
        axis.set_xlim(0, 1.02 * max(curve.points[-1][0] for curve in self.curves))
        axis.locator_params('x', integer=True)
        axis.set_title(self.title, fontsize=11)
        axis.set(xlabel='iteration', ylabel=self.ylabel)
        axis.grid(color='0.93')
        axis.set_axisbelow(True)
        axis.spines[['top', 'right']].set_visible(False)


def report_panels(run: RunLog, baselines: Mapping[str, RunLog] | None = None) -> list[Panel]:
    """Panels of a run beside its baselines, by title; those that no run logged are omitted."""
    others = list(zip((baselines or {}).items(), STYLES[1:]))

    def panel(title: str, quantity: str, more: Sequence[Curve] = ()) -> Panel:
        def points(log: RunLog) -> Series:
            return log.task_loss() if quantity == 'task_loss' else log.get(quantity)

        curves = [Curve('this run', points(run), BLUE)]
        curves += [Curve(label, points(log), GRAY, style) for (label, log), style in others]
        return Panel(quantity, [*curves, *more], title=title)

    def of_instances(title: str, quantity: str) -> list[Panel]:
        panels = []
        for name in run.instances(quantity):
            curves = _axis_curves(run, quantity, name, '-', 'height (h)', 'width (w)')
            for (label, log), style in others:
                curves += [curve._replace(noise=()) for curve in _axis_curves(
                    log, quantity, name, style, f'{label}, h', f'{label}, w')]
            panels.append(Panel(quantity, curves, name, title.format(name)))
        return panels

    panels = [panel('Task loss (without the cost)', 'task_loss'),
              panel('Validation during training', 'mIoU')]
    logs = [run, *(log for (_, log), _ in others)]
    for cost in dict.fromkeys(cost for log in logs for cost in log.costs()):
        panels += [
            panel(f'{_COSTS.get(cost, cost)}, share of initial', f'{cost}_ratio',
                  [_plan(run, cost)]),
            panel(f'Slope of the loss per 1 % of the cost ({cost})', f'{cost}_slope')]
    scales = of_instances('Scale of {}', 'scale')
    slopes = of_instances('Slope of the loss by log(scale), {}', 'slope')
    _share_limits(scales, margin=0.02)
    _share_limits(slopes)
    return [panel for panel in panels + scales + slopes if panel.curves]


def _axis_curves(log: RunLog, quantity: str, instance: str, style: LineStyleType, *labels: str
                 ) -> list[Curve]:
    noise = log.shape(instance, f'{quantity}_noise')
    return [Curve(label, points, AXIS_COLORS[axis], style, noise[axis])
            for label, (axis, points) in zip(labels, log.shape(instance, quantity).items())]


def _is_image(instance: str) -> bool:
    return instance.rpartition('.')[2] == IMAGE  # it may have its whole name


def _plan(run: RunLog, cost: str) -> Curve:
    return Curve('plan', run.get(f'{cost}_plan'), ORANGE, '--')


def _share_limits(panels: Sequence[Panel], margin: float = 0.0) -> None:
    """Give panels the same limits, with their levels in sight."""
    ends = [panel.level[0] for panel in panels if panel.level]
    ends += [value for panel in panels for curve in panel.curves
             for end in curve.band() for value in end.tolist()]
    if ends and min(ends) - margin < max(ends) + margin:
        for panel in panels:
            panel.limits = min(ends) - margin, max(ends) + margin


def draw_report_panel(panel: Panel) -> Figure:
    """One of `report_panels` with its legend."""
    figure = Figure(figsize=(4.6, 3.3), layout='constrained')
    panel.draw(figure.subplots())
    if len(figure.axes[0].get_lines()) > 1:
        draw_legend(figure, ncols=3, frameon=False, fontsize=9)
    return figure


def evolution(runs: Sequence[RunLog]) -> list[list[Panel]]:
    """The rows of a picture of runs: scales, sizes and slopes by instance, then each cost.

    Panels and rows without a value are omitted. The image comes first, then the stem.

    Raises:
        ValueError: there are more runs than line styles.
    """
    if len(runs) > len(STYLES):
        raise ValueError(f'one picture shows at most {len(STYLES)} runs, got {len(runs)}; draw '
                         'some of them')
    styled = list(zip(runs, STYLES))
    names = list(dict.fromkeys(name for run in runs for name in run.instances()))
    names.sort(key=lambda name: (not _is_image(name), not name.startswith('stem')))
    rows = []
    for quantity in ('scale', 'size', 'grad_snr', 'slope'):
        rows.append([Panel(quantity, [
            curve for run, style in styled for curve in _axis_curves(
                run, quantity, name, style, f'{run.name} h', f'{run.name} w')],
            name, name if quantity == 'scale' else '') for name in names])
    for cost in dict.fromkeys(cost for run in runs for cost in run.costs()):
        absolute = LatencyCost.scalar if cost == LatencyCost.name else cost
        plans = [_plan(run, cost) for run in runs]
        rows.append([
            Panel(quantity, [Curve(run.name, run.get(quantity), 'black', style)
                             for run, style in styled] + more)
            for quantity, more in ((absolute, []), (f'{cost}_ratio', plans), (f'{cost}_slope', []))
        ])
    rows = [[panel for panel in row if panel.curves] for row in rows]
    return [row for row in rows if row]


def evolution_size(runs: Sequence[RunLog]) -> tuple[float, float]:
    """Width and height in inches that `draw_evolution` needs."""
    rows = evolution(runs)
    width = max(7.5, 3.1 * max(map(len, rows)))
    entries = len(_legend_entries(runs))
    return width, 2.3 * len(rows) + 0.9 + 0.2 * -(-entries // _legend_columns(runs, width))


def draw_evolution(figure: Figure | SubFigure, runs: Sequence[RunLog]) -> None:
    """Draw `evolution`: a column per instance, h and w in two colors, a style per run.

    The figure, or a part of one, has ``layout='constrained'``; names of runs differ.
    """
    rows = evolution(runs)
    # Two grid columns per instance, so that the panels of a cost share the width.
    columns = 2 * max(map(len, rows))
    grid = figure.add_gridspec(len(rows), columns)
    for i, row in enumerate(rows):
        width = 2 if row[0].instance else columns // len(row)
        first = None
        for j, panel in enumerate(row):
            shared = panel.quantity in ('scale', 'grad_snr', 'slope')  # to compare instances
            axis = figure.add_subplot(grid[i, j * width:(j + 1) * width],
                                      sharey=first if shared else None)
            panel.draw(axis)
            if panel.instance and first:
                axis.set_ylabel('')
                axis.tick_params(labelleft=not shared)
            if row is not rows[-1]:
                axis.set_xlabel('')
            first = first or axis
    inches = figure.bbox.width / figure.get_figure(root=True).dpi
    draw_legend(figure, handles=_legend_entries(runs), ncols=_legend_columns(runs, inches))
    figure.suptitle('Learned shapes over the training')


def _legend_entries(runs: Sequence[RunLog]) -> list[Line2D]:
    is_image = {_is_image(name) for run in runs for name in run.instances()}
    levels = [label for of_image, label in ((False, _STRIDE_2), (True, _WHOLE_IMAGE))
              if of_image in is_image]
    entries = [Line2D([], [], color=AXIS_COLORS['h'], label='height h'),
               Line2D([], [], color=AXIS_COLORS['w'], label='width w'),
               Line2D([], [], **_LEVEL, label=', '.join(levels))]
    if any(run.get(f'{cost}_plan') for run in runs for cost in run.costs()):
        entries.append(Line2D([], [], color=ORANGE, linestyle='--', label='plan'))
    return entries + [Line2D([], [], color='dimgray', linestyle=style, label=run.name)
                      for run, style in zip(runs, STYLES)]


def _legend_columns(runs: Sequence[RunLog], inches: float) -> int:
    """As many columns as fit, by the longest name."""
    names = [str(entry.get_label()) for entry in _legend_entries(runs)]
    return max(1, min(6, len(names), int(inches / (0.095 * max(map(len, names)) + 0.75))))
