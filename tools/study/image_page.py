"""Writes the tables of docs/image_level.md from the finished runs."""

from collections.abc import Iterator
from statistics import median

from . import image_runs, runs
from .image_runs import (
    IMAGE,
    JITTERED,
    KERNEL_PLACES,
    KERNELS,
    LEARNED,
    PLACES,
    PROBE,
    SENSITIVITY,
    UNIFORM,
)
from .probes import other_less_same
from .tables import NAMES, Group, Results, difference, markdown, spread

# Heading, method, options, whether the run is one of docs/evidence_0_3.md.
COLUMNS = (
    ('stock, cost 1', 'stock', (), True),
    ('smaller input', 'input', (), True),
    ('smaller input, multiples of 8', 'aligned', (), False),
    ('smaller input, begun at full size', 'planned', (), False),
    ('squeezed, stretch known', 'squeezed', (), True),
    ('image + DynOPool, uniform', 'learner', UNIFORM, False),
    ('image + DynOPool, learned', 'learner', LEARNED, False))


def tables(done: dict[str, dict], done_0_3: dict[str, dict]) -> str:
    """The tables, and what is missing."""
    found, old = Results(done, image_runs.all_runs()), Results(done_0_3, runs.all_runs())
    parts = ['mIoU, mean ± standard deviation (seeds; cost, where it is 1 % or more beside):']
    head = ['', *(name for name, *_ in COLUMNS)]
    rows, ahead, tested, timed = [], [], [], []
    for name, groups, ratio in _settings(found, old):
        rows.append([name, *(_score(group, ratio) for group in groups)])
        ahead.append([name, *(difference(groups[-1], group) for group in groups[:-1])])
        tested.append([name, *(_tested(group) for group in groups)])
        timed.append([name, *(_time(group) for group in groups)])
    parts += [markdown(head, rows), 'Learned less each of the others, ± half of the 95 % interval '
              '(Welch):', markdown(head[:-1], ahead),
              'The same runs on the test half, on which nothing was chosen:',
              markdown(head, tested),
              'Time of inference relative to the stock network, one image, one thread, median:',
              markdown(head, timed)]
    jitters = list(_jitters(found))
    if jitters:
        parts += ['What jitter does (thick slices: 5 mm, at the cost of the stock network, 1,200 '
                  'iterations):', markdown(['', *(f'jitter {j:g}' for j in image_runs.JITTERS),
                                            'stock'], jitters)]
    long = [(name, found.group('hrnet', 'stretched_h', method, 0.5, iterations=900,
                               **dict(options)))
            for name, method, options in (
                ('squeezed', 'squeezed', ()),
                ('smaller input, multiples of 8', 'aligned', ()),
                ('image + DynOPool, learned', 'learner', JITTERED),
                ('learned with a third of the estimates', 'learner',
                 (*JITTERED, ('every', 6))))]
    long = [(name, group) for name, group in long if group.lines]
    if long:
        parts += ['Three times as long, HRNet on stretched_h at cost 0.5:',
                  markdown([name for name, _ in long], [[_score(group, 0.5) for _, group in long]])]
    sensitivity = list(_sensitivity(found))
    if len(sensitivity) > 1:
        parts += ['What the options do, HRNet on stretched_h at cost 0.5, less the defaults on the '
                  'validation and on the test half:',
                  markdown(['', 'mIoU', 'less defaults', 'test half', 'less defaults', 'cost'],
                           sensitivity)]
    kernels = [(f'{NAMES[network]}, {data}', [
        found.group(network, data, 'kernel', 0.5, kernel=kernel) for kernel in KERNELS])
        for network, data in KERNEL_PLACES]
    if any(group.lines for _, groups in kernels for group in groups):
        parts += ['A smaller input of aligned size, resized by each kernel from the start:',
                  markdown(['', *KERNELS], ([name, *(_score(group, 0.5) for group in groups)]
                                            for name, groups in kernels
                                            if any(group.lines for group in groups)))]
    sizes, parities = _sizes(found), _parities(found)
    if sizes:
        parts += ['Validation images of other sizes than in the training, not padded, labels in '
                  'full (trained anew; a seed does not repeat a training bit for bit on another '
                  'day):', markdown(sizes[0], sizes[1:])]
    if parities:
        parts += ['A trained stock network in which one map is resized in front of the layer that '
                  'strides: mIoU at heights of the other parity (3 rows more and less than in its '
                  'training), less that one row further, where the parity is its own:',
                  markdown(['', 'map', 'difference'], parities)]
    missing = sum(run.key not in done for run in found.runs)
    if missing:
        parts.append(f'Of the listed runs {missing} are missing: the tables are unfinished.')
    return '\n\n'.join(parts) + '\n'


def _settings(found: Results, old: Results) -> Iterator[tuple[str, list[Group], float]]:
    places = [(network, data) for network, data, _ in PLACES]
    for ratio, shown in ((0.5, [*places, ('hrnet', 'mixed')]), (0.75, places[:2]),
                         (0.35, places[:1])):
        for network, data in shown:
            groups = []
            for _, method, options, is_old in COLUMNS:
                place = network, data, method, 1. if method == 'stock' else ratio
                group = (old if is_old else found).found(*place, **dict(options))
                groups.append(group if group.lines else found.found(*place, **dict(options)))
            if groups[-1].lines:
                yield f'{NAMES[network]}, {data}, {ratio:g}', groups, ratio


def _jitters(found: Results) -> Iterator[list[str]]:
    settings = [(f'{NAMES[network]}, {data}', network, data, 0.5, IMAGE)
                for network, data, _ in PLACES]
    settings.append(("the demo's HRNet, thick slices", 'demo', 'mni152_coronal_5', 1.,
                     image_runs.THICK))
    for name, network, data, ratio, options in settings:
        groups = [found.group(network, data, 'learner', ratio, **dict(options), jitter=jitter)
                  for jitter in image_runs.JITTERS]
        if any(group.lines for group in groups):
            stock = found.found(network, data, 'stock', 1., **dict(options[1:]))
            yield [name, *(_score(group, ratio) for group in (*groups, stock))]


def _sensitivity(found: Results) -> Iterator[list[str]]:
    """Of trainings of the HRNet with one option changed; the defaults first."""
    default = found.group('hrnet', 'stretched_h', 'learner', 0.5, **dict(LEARNED))
    for options in ((), *SENSITIVITY):
        group = found.group('hrnet', 'stretched_h', 'learner', 0.5, **dict(LEARNED + options))
        if group.lines:
            name = ', '.join(f'{key} {value:g}' if isinstance(value, float) else f'{key} {value}'
                             for key, value in options) or 'defaults'
            yield [name, _score(group, 0.5), difference(group, default) if options else '',
                   _tested(group), difference(group, default, 'miou_test') if options else '',
                   group.spread('gmacs_ratio', 3)]


def _sizes(found: Results) -> list[list[str]]:
    """The head and the rows of networks at other sizes; empty where there are none."""
    rows: list[list[str]] = []
    for network, data in KERNEL_PLACES:
        for name, method, ratio, options in (
                ('stock', 'stock', 1., ()), ('image + DynOPool, learned', 'learner', 0.5, LEARNED)):
            lines = found.group(network, data, method, ratio, **dict(options + PROBE)).lines
            if lines:
                sizes = list(lines[0]['miou_at'])  # the same of all: they have the same data
                rows = rows or [['', *sizes]]
                rows.append([f'{NAMES[network]}, {name} ({len(lines)})', *(
                    spread([line['miou_at'][size] for line in lines]) for size in sizes)])
    return rows


def _parities(found: Results) -> list[list[str]]:
    """Of maps whose height has another parity than the training's."""
    rows: list[list[str]] = []
    for network, data in KERNEL_PLACES:
        lines = found.group(network, data, 'stock', 1., **dict(PROBE)).lines
        rows += [[f'{NAMES[network]} ({len(lines)})', f'{level} rows', spread(
            [other_less_same(line['miou_behind'][level]) for line in lines])]
                 for level in (lines[0]['miou_behind'] if lines else ())]
    return rows


def _score(group: Group, ratio: float) -> str:
    if not group.lines:
        return '-'
    cost = group.mean('gmacs_ratio')
    beside = f'; {cost:.2f}' if cost < 0.99 and abs(cost / ratio - 1) >= 0.01 else ''
    return f'{group.spread("miou")} ({group.seeds}{beside})'


def _tested(group: Group) -> str:
    lines = tuple(line for line in group.lines if 'miou_test' in line)
    return f'{Group(lines, 0).spread("miou_test")} ({len(lines)})' if lines else '-'


def _time(group: Group) -> str:
    return f'{median(group.values("test_time_ratio")):.2f}' if group.lines else '-'
