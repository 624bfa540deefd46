"""Writes the tables of docs/fit.md from the finished runs."""

import statistics
from math import sqrt

from scipy.stats import t

from . import fit_runs
from .tables import NAMES, markdown, spread

COLUMNS = dict(
    stock='as trained, full cost', untouched='plain smaller input, not tuned',
    plain='plain smaller input', fit='**fit**', learned="image's scale learned in the tuning",
    squeezed='squeezed, stretch known')
UNITS = dict(time='three quarters of its time', gmacs='half of its multiply-adds')


def tables(done: dict[str, dict], _: dict[str, dict]) -> str:
    """The tables, and what is missing."""
    scores, tests, sizes, seconds = [], [], [], []
    for unit, network, data in (found := places(done)):
        place, lines = heading(unit, network, data), found[unit, network, data]
        scores.append([place, *(column(lines, name, 0) for name in COLUMNS),
                       ahead(lines, 0), len(lines)])
        if all(len(score) > 1 for line in lines for score in line['scores'].values()):
            tests.append([place, *(column(lines, name, 1) for name in COLUMNS),
                          ahead(lines, 1), len(lines)])
        sizes.append([place, *('; '.join('{} x {}'.format(*line['sizes'][column]) for line in lines)
                              for column in ('plain', 'fit', 'learned')),
                      *(spread([line[ratios]['fit'] for line in lines], 2)
                        for ratios in ('gmacs_ratios', 'time_ratios'))])
        timed = [line for line in lines if line['stock_seconds']]  # nothing else ran beside them
        seconds.append([place, *(spread([line['stage_seconds'][stage] / line['stock_seconds']
                                        for line in timed], 2)
                                for stage in ('search', 'compare', 'finish'))])
    head = ['', *COLUMNS.values(), 'fit less plain', 'seeds']
    parts = ['mIoU, mean ± standard deviation over seeds; fit less plain by pairs, with half of '
             'the 95 % interval:', markdown(head, scores)]
    if tests:
        parts += ['The same on the test half, on which nothing was chosen:', markdown(head, tests)]
    parts += ['The sizes, by seeds, and what the fitted network costs relative to the trained one, '
              'in multiply-adds and in time by turns:',
              markdown(['', 'plain', 'fit', 'learned', 'multiply-adds', 'time'], sizes),
              "Seconds, relative to the stock network's training; a process's start, ten seconds "
              'for each of the fine-tunings, is part of them and dominates on networks this small '
              '(-: other work ran on the machine):',
              markdown(['', 'search', 'fine-tuning to a third', 'to the end'], seconds)]
    missing = sum(run.key not in done for run in fit_runs.all_runs())
    if missing:
        parts.append(f'Of the listed runs {missing} are missing: the tables are unfinished.')
    return '\n\n'.join(parts) + '\n'


def places(done: dict[str, dict]) -> dict[tuple[str, str, str], list[dict]]:
    """The finished runs by target, network and data."""
    found = {}
    for place, runs in fit_runs.places():
        lines = [done[run.key] for run in runs if run.key in done]
        if lines:
            found[place] = lines
    return found


def heading(unit: str, network: str, data: str) -> str:
    """Of a row."""
    return f'{NAMES[network]}, {data}, {UNITS[unit]}'


def column(lines: list[dict], name: str, half: int) -> str:
    """mIoU of a network in a place's lines, on the validation half or the test half."""
    return spread([line['scores'][name][half] for line in lines if name in line['scores']], 1)


def ahead(lines: list[dict], half: int, of: str = 'plain') -> str:
    """The fitted networks less the plain smaller inputs, or others, by pairs."""
    pairs = [line['scores']['fit'][half] - line['scores'][of][half] for line in lines]
    if len(pairs) < 2:
        return f'{pairs[0]:+.1f}'
    width = t.ppf(0.975, len(pairs) - 1) * statistics.stdev(pairs) / sqrt(len(pairs))
    return f'{statistics.fmean(pairs):+.1f} ± {width:.1f}'
