"""docs/classification_evidence.md and its figure, from the JSON lines."""

import statistics
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from .classifier_runs import DISTORTIONS, METHODS, SEEDS, all_runs
from .tables import Group, difference, markdown, total_stride_ratio
from .template import render

# Method and relative cost, from the dearest down.
SETTINGS = list(dict.fromkeys((run.method, run.ratio) for run in sorted(
    all_runs(), key=lambda run: (-run.ratio, list(METHODS).index(run.method)))))


class Tables:
    """The page's tables, as Markdown.

    Args:
        done: JSON lines by key.
    """

    def __init__(self, done: dict[str, dict]):
        self.done = done

    def group(self, data: str, method: str, ratio: float) -> Group:
        """The finished seeds of a setting."""
        runs = [run for run in all_runs() if (run.data, run.method, run.ratio) == (
            data, method, ratio)]
        return Group(tuple(self.done[run.key] for run in runs if run.key in self.done), len(runs))

    def accuracy(self) -> str:
        """Accuracy by method and distortion."""
        return self._by_distortion('accuracy', 2)

    def cost(self) -> str:
        """Counted multiply-adds relative to the stock network, mean."""
        return self._by_distortion('gmacs_ratio', 3)

    def _by_distortion(self, name: str, digits: int) -> str:
        rows = []
        for method, ratio in SETTINGS:
            groups = [self.group(data, method, ratio) for data in DISTORTIONS]
            rows.append([f'{METHODS[method]}, {ratio:g}',
                         *(group.spread(name, digits) for group in groups)])
        return markdown(['', *DISTORTIONS], rows)

    def seeds(self) -> str:
        """Settings with fewer seeds than planned; empty where none is."""
        short = [f'{METHODS[method]} {ratio:g} on {data} ({group.seeds})'
                 for method, ratio in SETTINGS for data in DISTORTIONS
                 if (group := self.group(data, method, ratio)).planned != len(group.lines)]
        return ', '.join(short)

    def strides(self) -> str:
        """Total stride, height to width, by method and distortion."""
        rows = []
        for method, ratio in SETTINGS:
            if method in ('fixed', 'uniform', 'picked', 'retrained'):
                continue
            row = [f'{METHODS[method]}, {ratio:g}']
            for data in ('stretched_h', 'plain', 'stretched_w', 'tiled', 'enlarged'):
                row.append(self.stride(data, method, ratio))
            rows.append(row)
        return markdown(['', 'stretched_h (3)', 'plain (1)', 'stretched_w (1/3)', 'tiled (1)',
                         'enlarged (1)'], rows)

    def stride(self, data: str, method: str, ratio: float) -> str:
        """Mean ± standard deviation of the total stride, height to width, and each seed's."""
        strides = self._strides(data, method, ratio)
        seeds = ', '.join(f'{line["stride"]:.2f}' for line in strides.lines)
        return f'{strides.spread("stride")} ({seeds})'

    def mean_stride(self, data: str, method: str, ratio: float) -> str:
        """Mean of the total stride, height to width."""
        strides = self._strides(data, method, ratio)
        return f'{strides.mean("stride"):.1f}' if strides.lines else '-'

    def _strides(self, data: str, method: str, ratio: float) -> Group:
        group = self.group(data, method, ratio)
        return Group(tuple(dict(stride=total_stride_ratio(line)) for line in group.lines),
                     group.planned)

    def less(self, data: str, first: str, second: str) -> str:
        """Accuracy of a method less that of another, both at 0.6."""
        return difference(self.group(data, first, 0.6), self.group(data, second, 0.6), 'accuracy')

    def differences(self) -> str:
        """Of DynOPool with the measured gradient at 0.6, to other methods."""
        ours = {data: self.group(data, 'measured', 0.6) for data in DISTORTIONS}
        others = [('uniform', 0.6), ('picked', 0.6), ('adaptor', 0.6), ('dynopool', 0.6),
                  ('retrained', 0.6), ('fixed', 1.)]
        return markdown(['', *DISTORTIONS], [
            [f'less {METHODS[method]}, {ratio:g}',
             *(difference(ours[data], self.group(data, method, ratio), 'accuracy')
               for data in DISTORTIONS)] for method, ratio in others])


def write_page(done: dict[str, dict], path: Path) -> None:
    """Write the page, and its figure into the folder of the page's name."""
    tables = Tables(done)
    listed = all_runs()
    lines = [done[run.key] for run in listed if run.key in done]
    path.write_text(render(
        'classifier_page', table=tables, done=len(lines), listed=len(listed), seeds=SEEDS,
        seconds=statistics.median(line['seconds'] for line in lines)))
    folder = path.with_suffix('')
    folder.mkdir(exist_ok=True)
    _draw(tables, folder / 'accuracy.png')


def _draw(tables: Tables, path: Path) -> None:
    """Accuracy over counted cost, a panel for each distortion."""
    with matplotlib.rc_context({'font.size': 8, 'axes.spines.top': False,
                                'axes.spines.right': False}):
        figure, panels = plt.subplots(1, len(DISTORTIONS), figsize=(11, 3.2),
                                      layout='constrained')
        for axes, data in zip(panels, DISTORTIONS):
            for index, method in enumerate(METHODS):
                points = [group for m, ratio in SETTINGS if m == method
                          and (group := tables.group(data, method, ratio)).lines]
                if points:
                    axes.errorbar(
                        [group.mean('gmacs_ratio') for group in points],
                        [group.mean('accuracy') for group in points],
                        [_deviation(group) for group in points], fmt='o', capsize=2,
                        markersize=4, color=f'C{index}', label=METHODS[method])
            axes.set(title=data, xlabel='multiply-adds, relative')
        panels[0].set_ylabel('accuracy (%)')
        labelled = {label: handle for axes in panels
                    for handle, label in zip(*axes.get_legend_handles_labels())}
        figure.legend(labelled.values(), labelled.keys(), loc='outside lower center', ncols=3,
                      frameon=False)
        figure.savefig(path, dpi=110, metadata=dict(Software=None))
        plt.close(figure)


def _deviation(group: Group) -> float:
    values = group.values('accuracy')
    return statistics.stdev(values) if len(values) > 1 else 0.
