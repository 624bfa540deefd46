"""Draw what an analysis of a data set found."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import AXIS_COLORS


def draw_analysis(result: dict) -> Figure:
    """Curves of `mmseg_dynopool.analysis.data_set.analyze`, a column for images and label maps.

    Above, by the scale, the share of the energy that lies above what the scale keeps; below, by
    the distance, how much two pixels differ, and the height's curve moved by the stretch found.
    """
    parts = {title: result[key] for key, title in (('image', 'images'), ('label', 'label maps'))
             if result[key] is not None}
    figure = Figure(figsize=(5.2 * len(parts), 7.6), layout='constrained')
    columns = figure.subplots(2, len(parts), squeeze=False).T
    for (above, below), (title, part) in zip(columns, parts.items(), strict=True):
        _draw_energy(above, part)
        above.set(title=f'{title}: energy that a scale cannot hold', ylim=(0, None),
                  xlabel='scale r of the feature map to the image',
                  ylabel='energy above r / 2 cycles/pixel (%)')
        _draw_difference(below, part)
        below.set(title=f'{title}: how far contents reach', ylim=(0, None),
                  xlabel='distance of two pixels (pixels)',
                  ylabel='difference (1: unrelated pixels)')
    for axis in figure.axes:
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(
        f'{result["images"]} images: contents {describe(result["stretch"])} as long in height as '
        'in width')
    return figure


def describe(stretch: float | None, error: float | None = None) -> str:
    """``'1.52 ± 0.04 times'``."""
    if stretch is None:
        return 'unknown times'
    return f'{stretch:.2f} times' if error is None else f'{stretch:.2f} ± {error:.2f} times'


def _draw_energy(axis: Axes, part: dict) -> None:
    scale = 2 * np.array(part['curves']['frequency'])
    ticks = [row['scale'] for row in part['energy_above']]
    lowest = min(ticks) / 1.3
    shown = scale >= lowest * 0.9
    _plot_axes(axis, scale[shown], 100 * (1 - np.array(part['curves']['energy'])[:, shown]))
    axis.set_xscale('log', base=2)
    axis.set_xticks([*ticks, 1], [*(f'1/{1 / s:.0f}' for s in ticks), '1'])
    axis.minorticks_off()
    axis.set_xlim(lowest, 1)


def _draw_difference(axis: Axes, part: dict) -> None:
    lag = np.array(part['curves']['lag'])
    values = np.array(part['curves']['difference'], dtype=float)  # None becomes NaN
    _plot_axes(axis, lag, values)
    if part['stretch'] is not None:
        axis.plot(lag / part['stretch'], values[0], color='black', lw=1.2, ls='--',
                  label=f'height, distances divided by {part["stretch"]:.2f}')
    axis.set_xscale('log')
    axis.set_xlim(1, lag[np.isfinite(values).any(0)].max())


def _plot_axes(axis: Axes, x: np.ndarray, pair: np.ndarray) -> None:
    for name, color, y in zip(('height', 'width'), AXIS_COLORS.values(), pair, strict=True):
        axis.plot(x, y, color=color, lw=2, label=f'along the {name}')
