"""What the finished runs say, in numbers."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from scipy.stats import ttest_ind

from mmseg_dynopool.files import write_file

from .runs import METHODS, Run

NAMES = dict(hrnet='HRNet', deeplab='DeepLabV3+ R-18', demo="the demo's HRNet", unet='UNet')
BEGIN, END = '<!-- tables -->', '<!-- /tables -->'


def spread(values: list[float], digits: int = 2) -> str:
    """Mean ± sample standard deviation; of one seed, the value."""
    if not values:
        return '-'
    text = f'{statistics.fmean(values):.{digits}f}'
    return f'{text} ± {statistics.stdev(values):.{digits}f}' if len(values) > 1 else text


@dataclass(frozen=True)
class Group:
    """The finished seeds of one setting.

    Attributes:
        lines: the JSON lines.
        planned: number of seeds in the list of runs.
    """

    lines: tuple[dict, ...]
    planned: int

    def values(self, name: str) -> list[float]:
        """One number of each seed."""
        return [line[name] for line in self.lines]

    def mean(self, name: str) -> float:
        return statistics.fmean(self.values(name))

    def median(self, name: str) -> float:
        return statistics.median(self.values(name))

    def spread(self, name: str, digits: int = 2) -> str:
        """`spread` of one number over the seeds."""
        return spread(self.values(name), digits)

    @property
    def seeds(self) -> str:
        """How many, and of how many where some are missing."""
        done = len(self.lines)
        return str(done) if done == self.planned else f'{done} of {self.planned}'


class Results:
    """Looks up finished runs.

    Args:
        done: JSON lines by key.
        runs: the list of runs.
    """

    def __init__(self, done: dict[str, dict], runs: Iterable[Run]):
        self.done = done
        self.runs = list(runs)

    def group(self, network: str, data: str, method: str, ratio: float, **options) -> Group:
        """The seeds of a setting, whatever the order of the options."""
        runs = [run for run in self.runs
                if (run.network, run.data, run.method, run.ratio, dict(run.options)) == (
                    network, data, method, ratio, options)]
        if not runs:
            raise ValueError(f'no run of {network}, {data}, {method}, {ratio}, {options} is '
                             'listed')
        lines = tuple(self.done[run.key] for run in runs if run.key in self.done)
        return Group(lines, len(runs))

    def found(self, *place, **options) -> Group:
        """As `group`, empty where no such run is listed."""
        try:
            return self.group(*place, **options)
        except ValueError:
            return Group((), 0)

    def frontier(self, network: str, data: str, method: str) -> list[Group]:
        """Groups of a method at falling cost, the stock network first; finished ones alone."""
        ratios = sorted({run.ratio for run in self.runs if not run.options and (
            run.network, run.data, run.method) == (network, data, method)}, reverse=True)
        groups = [self.group(network, data, 'stock', 1.)]
        groups += [self.group(network, data, method, ratio) for ratio in ratios]
        return [group for group in groups if group.lines]


def total_stride_ratio(line: dict) -> float:
    """Total stride of the learned levels, height to width: above 1, height is reduced more."""
    ratio = 1.
    for r_h, r_w in line['scales'].values():
        ratio *= r_w / r_h
    return ratio


def difference(first: Group, second: Group, name: str = 'miou') -> str:
    """A score of one less that of another ± half of the 95 % confidence interval (Welch)."""
    if min(len(first.lines), len(second.lines)) < 2:
        return '-'
    values = [group.values(name) for group in (first, second)]
    low, high = ttest_ind(*values, equal_var=False).confidence_interval(0.95)
    return f'{(low + high) / 2:+.2f} ± {(high - low) / 2:.2f}'


def at_time(frontier: list[Group], time: float, name: str) -> float | None:
    """mIoU at a relative time, on the line through the neighbouring points of a frontier."""
    points = sorted((group.median(name), group.mean('miou')) for group in frontier)
    for (t0, m0), (t1, m1) in pairwise(points):
        if t0 <= time <= t1:
            return m0 + (m1 - m0) * (time - t0) / (t1 - t0) if t1 > t0 else m1
    return None


def markdown(head: list[str], rows: Iterable[Iterable[object]]) -> str:
    """A table."""
    lines = ['| ' + ' | '.join(map(str, row)) + ' |' for row in (head, *rows)]
    return '\n'.join([lines[0], '|' + '---|' * len(head), *lines[1:]])


def method_rows(results: Results, settings: Iterable[tuple], label: Callable[[tuple], str]
                ) -> list[list[str]]:
    """Rows of settings ``(network, data, method, ratio, options)``: name, mIoU, cost, times."""
    rows = []
    for setting in settings:
        *place, options = setting
        group = results.group(*place, **options)
        times = [f'{group.median(name):.2f}' if group.lines else '-'
                 for name in ('test_time_ratio', 'train_time_ratio')]
        rows.append([label(setting), group.spread('miou'), group.spread('gmacs_ratio', 3), *times,
                     group.seeds])
    return rows


def method_name(setting: tuple) -> str:
    """Name of a setting's method."""
    return METHODS[setting[2]]


def write_page(written: str, page: Path) -> None:
    """Put the tables between the marks of a page."""
    text = page.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    write_file(page, f'{text[:begin]}\n{written}{text[end:]}'.encode())


def score(group: Group) -> str:
    """mIoU of a group, and how many seeds it has."""
    return f'{group.spread("miou")} ({group.seeds})' if group.lines else '-'
