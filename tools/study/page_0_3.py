"""docs/evidence_0_3.md and its figures, from the JSON lines."""

import statistics
from pathlib import Path

from .figures import draw_groups, study_figure
from .runs import ANCHORS, CHEAPER, EARLY, METHODS, SCALES, SENSITIVITY, SLOW, all_runs
from .tables import (
    Group,
    Results,
    at_time,
    difference,
    markdown,
    method_name,
    method_rows,
    total_stride_ratio,
)
from .template import render

NAMES = dict(hrnet='HRNet', deeplab='DeepLabV3+')
_HEAD = ['', 'mIoU', 'cost', 'time, inference', 'time, training step at the end', 'seeds']
_TIMES = (0.95, 0.9, 0.85, 0.8)


def write_page(done: dict[str, dict], times: dict[str, float], path: Path) -> None:
    """Write the page, and its figures into the folder ``evidence``.

    Args:
        done: JSON lines by key.
        times: of the demo's networks, by key, see ``times.py``.
        path: the page, ``docs/evidence_0_3.md``.
    """
    runs = all_runs()
    results = Results(done, runs)
    listed = [run for run in runs if run.key in done]
    text = render(
        'page_0_3', table=Tables(results, times), group=results.group, difference=difference,
        done=len(listed),
        listed=len(runs), line=next(iter(done.values())),
        minutes=statistics.median(done[run.key]['seconds'] for run in listed) / 60)
    path.write_text(text)
    folder = path.with_name('evidence')
    folder.mkdir(exist_ok=True)
    for network in ('hrnet', 'deeplab'):
        for name, label in (('gmacs', 'multiply-adds'), ('test_time', 'time of inference')):
            _draw_frontier(results, network, f'{name}_ratio',
                           f'{label}, relative to the stock network',
                           folder / f'{network}_{name}.png')


class Tables:
    """The page's tables, as Markdown."""

    def __init__(self, results: Results, times: dict[str, float]):
        self.results = results
        self.times = times

    def frontier(self, network: str) -> str:
        """Accuracy at equal counted cost."""
        settings = [(network, 'stretched_h', 'stock', 1., {})]
        settings += [(network, 'stretched_h', method, ratio, {})
                     for ratio in (0.75, 0.5) for method in CHEAPER]
        return markdown(['network', *_HEAD[1:]], method_rows(
            self.results, settings, lambda s: f'{method_name(s)}, {s[3]:g}' if s[3] < 1 else
            method_name(s)))

    def equal_time(self, network: str) -> str:
        """Accuracy at equal time, on the lines between the measured points."""
        rows = []
        for method in CHEAPER:
            frontier = self.results.frontier(network, 'stretched_h', method)
            row = [METHODS[method]]
            for time in _TIMES:
                found = at_time(frontier, time, 'test_time_ratio')
                row.append('-' if found is None else f'{found:.2f}')
            rows.append(row)
        return markdown(['', *(f'inference in {time:g}' for time in _TIMES)], rows)

    def stretch(self) -> str:
        """Does the learned shape follow the data?"""
        rows = []
        for method in ('measured', 'dynopool'):
            for data, true in (('stretched_h', '3'), ('isotropic', '1'), ('stretched_w', '1/3')):
                group = self.results.group('hrnet', data, method, 0.5)
                rows.append([METHODS[method], true, self.stride(data, method),
                             self._strides(group), *self._scales(group), group.seeds])
        return markdown(['', 'stretch of the data', 'total stride, h / w', 'by seed', 'stem1',
                         'stem2', 'stream1', 'stream2', 'stream3', 'seeds'], rows)

    def stride(self, data: str, method: str, ratio: float = 0.5) -> str:
        """Total stride of an HRNet, height to width."""
        group = self.results.group('hrnet', data, method, ratio)
        strides = [dict(ratio=total_stride_ratio(line)) for line in group.lines]
        return Group(tuple(strides), group.planned).spread('ratio')

    @staticmethod
    def _strides(group) -> str:
        return ', '.join(f'{total_stride_ratio(line):.2f}' for line in group.lines) or '-'

    @staticmethod
    def _scales(group) -> list[str]:
        """Mean scales of each instance."""
        if not group.lines:
            return ['-'] * 5
        scales = [line['scales'] for line in group.lines]
        return [' x '.join(f'{statistics.fmean(found[name][axis] for found in scales):.2f}'
                           for axis in (0, 1)) for name in scales[0]]

    def bad_starts(self) -> str:
        """Where a training from bad scales ends."""
        rows = []
        for scale in SCALES:
            for method, kind in (('fixed', 'stays'), ('measured', 'learns')):
                group = self.results.group('hrnet', 'stretched_h', method, 1., scale=scale)
                rows.append([f'{scale:g}', kind, group.spread('miou'),
                             group.spread('gmacs_ratio', 3), group.seeds])
        return markdown(['scales at the start', '', 'mIoU', 'cost', 'seeds'], rows)

    def retrained(self) -> str:
        """The learned scales from the start."""
        settings = [('hrnet', 'stretched_h', method, ratio, {}) for ratio in (0.75, 0.5)
                    for method in ('measured', 'retrained')]
        return markdown(_HEAD, method_rows(self.results, settings, method_name))

    def anchors(self) -> str:
        """Gradients of alpha: what they lead to, and their signal-to-noise ratio."""
        rows = []
        settings = [('dynopool', dict(options)) for options in ANCHORS]
        settings.insert(3, ('dynopool', {}))
        for method, options in [*settings, ('measured', {})]:
            group = self.results.group('hrnet', 'stretched_h', method, 0.5, **options)
            name = 'measured' if method == 'measured' else (
                f'{options.get("anchor", "local")}'
                + (f' {options.get("window", 8)}' if options.get('anchor', 'local') == 'local'
                   else ''))
            snr = [statistics.fmean(v for pair in line['grad_snr'].values() for v in pair)
                   for line in group.lines]
            rows.append([name, group.spread('miou'), group.spread('gmacs_ratio', 3),
                         f'{statistics.fmean(snr):.2f}' if snr else '-',
                         self._strides(group), group.seeds])
        return markdown(['anchor', 'mIoU', 'cost', "signal-to-noise of alpha's gradient",
                         'total stride, h / w, by seed', 'seeds'], rows)

    def slopes(self) -> str:
        """Alpha's gradients side by side on one network."""
        group = self.results.group('hrnet', 'stretched_h', 'slopes', 1.)
        rows = []
        for instance in group.lines[0]['slopes'] if group.lines else ():
            for axis in (0, 1):
                row = [instance, 'hw'[axis]]
                for name in ('difference', 'local', 'center', 'corner'):
                    pairs = [line['slopes'][instance][name][axis] for line in group.lines]
                    mean, std = (statistics.fmean(values) for values in zip(*pairs))
                    row.append(f'{mean:+.3f} ({std:.2f})')
                rows.append(row)
        return markdown(['', '', 'difference of losses', 'local', 'center', 'corner'], rows)

    def sensitivity(self) -> str:
        """One option at a time."""
        names = dict(alpha_lr='alpha lr x {:g}', begin='begin at {:g}', reach='reach at {:g}',
                     settle='settle at {:g}', every='measured every {:g} steps')
        rows = []
        settings = [('measured', options) for options in ((), *SENSITIVITY)]
        settings += [(method, options) for method in ('dynopool', 'adaptor')
                     for options in ((), SLOW)]
        prefix = dict(measured='', dynopool='straight through: ', adaptor='Shape Adaptor: ')
        for method, options in settings:
            group = self.results.group('hrnet', 'stretched_h', method, 0.5, **dict(options))
            label = ', '.join(names[n].format(v) for n, v in options) or (
                'as above (0.1, 0.5, 0.85; every 2 steps)' if method == 'measured' else 'as above')
            rows.append([prefix[method] + label, group.spread('miou'),
                         group.spread('gmacs_ratio', 3), self._strides(group), group.seeds])
        return markdown(['', 'mIoU', 'cost', 'total stride, h / w, by seed', 'seeds'], rows)

    def early(self) -> str:
        """The budget's pressure from the first step."""
        rows = []
        for network, ratio in (('hrnet', 0.75), ('hrnet', 0.5), ('deeplab', 0.5)):
            groups = [self.results.group(network, 'stretched_h', 'measured', ratio, **options)
                      for options in ({}, dict(EARLY))]
            rows.append([f'{NAMES[network]}, {ratio:g}', *(g.spread('miou') for g in groups),
                         difference(*groups[::-1]), ', '.join(g.seeds for g in groups)])
        return markdown(['', 'begin at 0.1', 'begin at 0', 'difference', 'seeds'], rows)

    def others(self) -> str:
        """Data without a stretch."""
        settings = [('hrnet', data, method, ratio, {})
                    for data in ('isotropic', 'mixed', 'enlarged')
                    for method, ratio in (('stock', 1.), ('uniform', 0.5), ('measured', 0.5))]
        return markdown(['data, network', *_HEAD[1:]], method_rows(
            self.results, settings, lambda s: f'{s[1]}: {method_name(s)}'))

    def demo(self) -> str:
        """The demo's network on slices of a brain."""
        settings = [('demo', 'mni152', method, ratio, {}) for method, ratio in (
            ('stock', 1.), ('uniform', 0.5), ('dynopool', 0.5), ('measured', 0.5))]
        return markdown(_HEAD, method_rows(self.results, settings, method_name))

    def time(self) -> str:
        """The demo's network with budgets of time and of multiply-adds."""
        rows = []
        for method, ratio in (('latency', 0.7), ('measured', 0.5), ('uniform', 0.5),
                              ('measured', 0.43), ('uniform', 0.43)):
            group = self.results.group('demo', 'mni152', method, ratio)
            times = ['{:.3f}'.format(self.times[line['key']]) for line in group.lines
                     if line['key'] in self.times]
            rows.append([f'{METHODS[method]}, {ratio:g}', group.spread('miou'),
                         group.spread('gmacs_ratio', 3), ', '.join(times) or '-', group.seeds])
        return markdown(['network', 'mIoU', 'cost', 'time relative to the start, by seed',
                         'seeds'], rows)


def _draw_frontier(results: Results, network: str, name: str, label: str, path: Path) -> None:
    with study_figure(path, figsize=(6.4, 4.2)) as axes:
        for number, method in enumerate(CHEAPER):
            draw_groups(axes, results.frontier(network, 'stretched_h', method), name, number,
                        METHODS[method])
        axes.set_xlabel(label)
        axes.set_ylabel('mIoU')
        axes.legend(fontsize=7, frameon=False)
