"""What runs logged, drawn over the iterations: in one figure for all, or a figure per panel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import LineStyleType

from mmseg_dynopool.analysis.logs import RunLog, Series

from .figures import AXIS_COLORS, BLUE

GRAY = '#767676'
STYLES: Sequence[LineStyleType] = (
    '-', '--', ':', '-.', (0, (6, 2, 1, 2, 1, 2)), (0, (1, 3)), (0, (8, 4)), (0, (3, 1)))
_STRIDE_2: dict[str, Any] = dict(color=GRAY, lw=1, ls=':', label='stride 2', zorder=1)
YLABELS = {
    'scale': 'scale r = 1 / alpha',
    'size': 'feature size (pixels)',
    'grad_snr': "alpha's gradient\n|mean| / std",
    'gmacs': 'GMACs ($10^9$ multiply-adds)\nbefore rounding of sizes',
    'gmacs_ratio': 'GMACs / GMACs at the start',
    'latency_ms': 'time by the latency model (ms)',
    'latency_ratio': 'time by the latency model\n/ time at the start',
    'task_loss': 'loss',
    'mIoU': 'mIoU (%)',
}
_OF_INSTANCES = ('scale', 'size', 'grad_snr')


class Curve(NamedTuple):
    """One line of a panel: its label, its points ``(iteration, value)`` and how it looks."""

    label: str
    points: Series
    color: str
    style: LineStyleType = '-'


@dataclass
class Panel:
    """A quantity over the iterations.

    ``quantity`` is a key of ``YLABELS``, ``instance`` the DynOPool's name where it has one,
    ``limits`` are those of the y-axis. Curves without points are omitted.
    """

    quantity: str
    curves: list[Curve]
    instance: str = ''
    title: str = ''
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self.curves = [curve for curve in self.curves if curve.points]

    def describe(self) -> str:
        """The panel in words, for those who cannot see it."""
        parts = [f'{label} from {points[0][1]:.4g} to {points[-1][1]:.4g} at iteration '
                 f'{points[-1][0]}' for label, points, *_ in self.curves]
        return f'{self.title}: {"; ".join(parts)}'


def draw_panel(axis: Axes, panel: Panel) -> None:
    """Draw a panel; heights and widths have their colours everywhere."""
    for label, points, color, style in panel.curves:
        steps, values = zip(*points)
        axis.plot(steps, values, label=label, color=color, linestyle=style, lw=1.6, ms=4,
                  marker='o' if len(steps) < 12 else None,  # they would hardly show as a line
                  drawstyle='steps-post' if panel.quantity == 'size' else 'default')
    if panel.quantity == 'scale':
        axis.axhline(0.5, **_STRIDE_2)
    elif panel.quantity == 'grad_snr':
        axis.set_yscale('log')
    elif panel.quantity == 'size':
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if panel.limits:
        axis.set_ylim(panel.limits)
    axis.set_xlim(0, 1.02 * max(curve.points[-1][0] for curve in panel.curves))
    axis.locator_params('x', integer=True)
    axis.set_title(panel.title, fontsize=11)
    axis.set(xlabel='iteration', ylabel=YLABELS[panel.quantity])
    axis.grid(color='0.93')
    axis.set_axisbelow(True)
    axis.spines[['top', 'right']].set_visible(False)


def report_panels(run: RunLog, baseline: RunLog | None = None) -> list[Panel]:
    """A run beside its baseline; panels of what the run did not log are omitted."""
    baseline = baseline or RunLog('no baseline')  # whose curves are empty, and so omitted
    runs: list[tuple[str, RunLog, str, LineStyleType]] = [
        ('this run', run, BLUE, '-'), ('baseline', baseline, GRAY, '--')]

    def panel(title: str, quantity: str, read: Callable[[RunLog], Series]) -> Panel:
        return Panel(quantity, [Curve(label, read(log), color, style)
                                for label, log, color, style in runs], title=title)

    panels = [
        panel('Task loss (without the cost)', 'task_loss', RunLog.task_loss),
        panel('Validation during training', 'mIoU', lambda log: log.get('mIoU')),
        panel('Multiply-adds before rounding, relative to the start', 'gmacs_ratio',
              lambda log: log.get('gmacs_ratio')),
        panel('Time by the latency model, relative to the start', 'latency_ratio',
              lambda log: log.get('latency_ratio')),
    ]
    scales = []
    for name in run.instances():
        curves = [Curve(f'{word} ({axis})', run.shape(name, 'scale')[axis], AXIS_COLORS[axis])
                  for axis, word in (('h', 'height'), ('w', 'width'))]
        curves += [Curve(f'baseline, {axis}', points, AXIS_COLORS[axis], '--')
                   for axis, points in baseline.shape(name, 'scale').items()]
        scales.append(Panel('scale', curves, name, f'Scale of {name}'))
    values = [0.5, *(value for panel in scales for curve in panel.curves
                     for _, value in curve.points)]
    for scale in scales:  # all to the same limits, to compare them
        scale.limits = min(values) - 0.02, max(values) + 0.02
    return [panel for panel in panels + scales if panel.curves]


def draw_report_panel(panel: Panel) -> Figure:
    """Draw one of `report_panels` with its legend."""
    figure = Figure(figsize=(4.6, 3.3), layout='constrained')
    draw_panel(figure.subplots(), panel)
    if len(figure.axes[0].get_lines()) > 1:
        figure.legend(loc='outside lower center', ncols=3, frameon=False, fontsize=9)
    return figure


def evolution(runs: Sequence[RunLog]) -> list[list[Panel]]:
    """The rows of a picture of runs: scales, sizes and gradients by instance, then the cost.

    Panels and rows without a value are omitted. Instances of the stem come first.

    Raises:
        ValueError: there are more runs than line styles.
    """
    if len(runs) > len(STYLES):
        raise ValueError(f'one picture shows at most {len(STYLES)} runs, got {len(runs)}; draw '
                         'some of them')
    names = list(dict.fromkeys(name for run in runs for name in run.instances()))
    names.sort(key=lambda name: not name.startswith('stem'))
    rows = [[Panel(quantity, [
        Curve(f'{run.name} {axis}', points, AXIS_COLORS[axis], style)
        for run, style in zip(runs, STYLES) for axis, points in run.shape(name, quantity).items()
    ], name, name if quantity == 'scale' else '') for name in names] for quantity in _OF_INSTANCES]
    rows.append([Panel(quantity, [Curve(run.name, run.get(quantity), 'black', style)
                                  for run, style in zip(runs, STYLES)])
                 for quantity in ('gmacs', 'gmacs_ratio', 'latency_ms')])
    rows = [[panel for panel in row if panel.curves] for row in rows]
    return [row for row in rows if row]


def evolution_size(runs: Sequence[RunLog]) -> tuple[float, float]:
    """Width and height in inches that `draw_evolution` needs."""
    rows = evolution(runs)
    width = max(7.5, 3.1 * max(map(len, rows)))
    return width, 2.3 * len(rows) + 0.9 + 0.2 * -(-(3 + len(runs)) // _legend_columns(runs, width))


def draw_evolution(figure: Figure | SubFigure, runs: Sequence[RunLog]) -> None:
    """Draw `evolution`: a column per instance, h and w in two colours, a style per run.

    The figure, or a part of one, has ``layout='constrained'``; names of runs differ.
    """
    rows = evolution(runs)
    # Two grid columns per instance, so that the two panels of the cost share the width.
    columns = 2 * max(map(len, rows))
    grid = figure.add_gridspec(len(rows), columns)
    for i, row in enumerate(rows):
        width = 2 if row[0].instance else columns // len(row)
        first = None
        for j, panel in enumerate(row):
            shared = panel.quantity in ('scale', 'grad_snr')  # comparable across instances
            axis = figure.add_subplot(grid[i, j * width:(j + 1) * width],
                                      sharey=first if shared else None)
            draw_panel(axis, panel)
            if panel.instance and first:
                axis.set_ylabel('')
                axis.tick_params(labelleft=not shared)
            if row is not rows[-1]:
                axis.set_xlabel('')
            first = first or axis
    handles = [Line2D([], [], color=AXIS_COLORS['h'], label='height h'),
               Line2D([], [], color=AXIS_COLORS['w'], label='width w'), Line2D([], [], **_STRIDE_2)]
    handles += [Line2D([], [], color='dimgray', linestyle=style, label=run.name)
                for run, style in zip(runs, STYLES)]
    columns = _legend_columns(runs, figure.bbox.width / figure.get_figure(root=True).dpi)
    legend = figure.legend(handles=handles, loc='outside lower center', ncols=columns)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a run's name is no formula
    figure.suptitle('Learned shapes over the training')


def _legend_columns(runs: Sequence[RunLog], inches: float) -> int:
    """As many as fit, by the longest name."""
    longest = max(len('height h'), *(len(run.name) for run in runs))
    return max(1, min(6, 3 + len(runs), int(inches / (0.095 * longest + 0.75))))
