"""Figures of accuracy over what it costs."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from .tables import Group


@contextmanager
def study_figure(path: Path, *grid: int, **options: Any) -> Iterator[Any]:
    """The axes of a figure, which is written at the end; arguments are those of `plt.subplots`."""
    with matplotlib.rc_context({'font.size': 9, 'axes.spines.top': False,
                                'axes.spines.right': False}):
        figure, axes = plt.subplots(*grid, layout='constrained', **options)
        yield axes
        figure.savefig(path, dpi=110, metadata=dict(Software=None))
        plt.close(figure)


def draw_groups(axes: Axes, groups: list[Group], name: str, number: int, label: str) -> None:
    """mIoU over a number of the lines, in the colour and with the marker of a series."""
    errors = [statistics.stdev(group.values('miou')) if len(group.lines) > 1 else 0
              for group in groups]
    axes.errorbar([group.median(name) for group in groups],
                  [group.mean('miou') for group in groups], errors, marker='osD^v<>P'[number],
                  markersize=5, capsize=2, linewidth=1,
                  color=matplotlib.colormaps['tab10'](number), label=label)
