"""Draw what an analysis of a data set found."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import AXIS_COLORS


def draw_analysis(result: dict) -> Figure:
    """Curves of `mmseg_dynopool.analysis.data_set.analyze`.

    Above, by the scale, the share of the energy that lies above what the scale keeps; below, by
    the distance, how much two pixels differ, and the height's curve moved by the stretch found.
    One column for the images and one for the label maps.
    """
    parts = {title: result[key] for key, title in (('image', 'images'), ('label', 'label maps'))
             if result[key] is not None}
    figure = Figure(figsize=(5.2 * len(parts), 7.6), layout='constrained')
    columns = figure.subplots(2, len(parts), squeeze=False).T
    for (above, below), (title, part) in zip(columns, parts.items(), strict=True):
        _draw_energy(above, title, part)
        _draw_difference(below, title, part)
    figure.suptitle(
        f'{result["images"]} images: contents {describe(result["stretch"])} as long in height as '
        'in width')
    return figure


def describe(stretch: float | None, error: float | None = None) -> str:
    """``'1.52 ± 0.04 times'``."""
    if stretch is None:
        return 'unknown times'
    return f'{stretch:.2f} times' if error is None else f'{stretch:.2f} ± {error:.2f} times'


def _draw_energy(axis: Axes, title: str, part: dict) -> None:
    curves = part['curves']
    scale = 2 * np.array(curves['frequency'])
    lowest = min(row['scale'] for row in part['energy_above']) / 1.3
    shown = scale >= lowest * 0.9
    for name, color, energy in _axes(curves['energy']):
        axis.plot(scale[shown], 100 * (1 - np.array(energy)[shown]), color=color, lw=2,
                  label=f'along the {name}')
    axis.set_xscale('log', base=2)
    ticks = [row['scale'] for row in part['energy_above']]
    axis.set_xticks([*ticks, 1], [*(f'1/{1 / s:.0f}' for s in ticks), '1'])
    axis.minorticks_off()
    axis.set_xlim(lowest, 1)
    _finish(axis, f'{title}: energy that a scale cannot hold',
            'scale r of the feature map to the image', 'energy above r / 2 cycles/pixel (%)')


def _draw_difference(axis: Axes, title: str, part: dict) -> None:
    curves = part['curves']
    lag = np.array(curves['lag'])
    values = np.array(curves['difference'], dtype=float)  # None becomes NaN
    for name, color, difference in _axes(values):
        axis.plot(lag, difference, color=color, lw=2, label=f'along the {name}')
    if part['stretch'] is not None:
        axis.plot(lag / part['stretch'], values[0], color='black', lw=1.2, ls='--',
                  label=f'height, distances divided by {part["stretch"]:.2f}')
    axis.set_xscale('log')
    axis.set_xlim(1, lag[np.isfinite(values).any(0)].max())
    _finish(axis, f'{title}: how far contents reach',
            'distance of two pixels (pixels)', 'difference (1: unrelated pixels)')


def _finish(axis: Axes, title: str, xlabel: str, ylabel: str) -> None:
    axis.set_ylim(bottom=0)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.grid(alpha=0.3)
    axis.legend()


def _axes(pair: list | np.ndarray) -> Iterator[tuple]:
    return zip(('height', 'width'), AXIS_COLORS.values(), pair, strict=True)
