"""Writes the tables of docs/learner.md from the finished runs."""

from pathlib import Path

from mmseg_dynopool.files import write_file

from . import learner_runs, runs
from .tables import Group, Results, difference, markdown

HEAD = ['', 'mIoU', 'cost', 'seeds']
NAMES = dict(hrnet='HRNet', deeplab='DeepLabV3+ R-18', demo="the demo's HRNet", unet='UNet')
BEGIN, END = '<!-- tables -->', '<!-- /tables -->'


def tables(done: dict[str, dict], done_0_3: dict[str, dict]) -> str:
    """The tables, and what is missing."""
    found, old = Results(done, learner_runs.all_runs()), Results(done_0_3, runs.all_runs())
    head = ['data, network, cost', '0.3, alpha in the optimizer', 'learner, no jitter',
            'learner, jitter 0.1', 'jitter less none']
    rows = []
    for network, data, ratio in learner_runs.CANDIDATES:
        still, jittered = (found.group(network, data, 'learner', ratio, **options)
                           for options in (dict(jitter=0.), {}))
        rows.append([f'{NAMES[network]}, {data}, {ratio:g}',
                     *map(score, (old.group(network, data, 'measured', ratio), still, jittered)),
                     difference(jittered, still)])
    settings = [('learner', dict(options)) for options in learner_runs.VARIANTS] + [
        ('jittered', dict(jitter=jitter)) for jitter in (0., *learner_runs.JITTERS)]
    variants = []
    for method, options in settings:
        group = found.group('hrnet', 'stretched_h', method, 0.5, **options)
        if group.lines:
            name = ', '.join(f'{key} {value}' for key, value in options.items()) or 'defaults'
            held = 'uniform scales, held, ' if method == 'jittered' else ''
            variants.append([held + name, group.spread('miou'), group.spread('gmacs_ratio', 3),
                             group.seeds])
    missing = sum(run.key not in done for run in found.runs)
    note = (f'Of the listed runs {missing} are missing: the tables are unfinished.\n'
            if missing else '')
    return '\n\n'.join(['mIoU, mean ± standard deviation over seeds (n):', markdown(head, rows),
                        "The evidence's HRNet on stretched_h at half the cost:",
                        markdown(HEAD, variants), note]).rstrip() + '\n'


def write_page(written: str, page: Path) -> None:
    """Put the tables between the marks of a page."""
    text = page.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    write_file(page, f'{text[:begin]}\n{written}{text[end:]}'.encode())


def score(group: Group) -> str:
    """mIoU of a group, and how many seeds it has."""
    return f'{group.spread("miou")} ({group.seeds})' if group.lines else '-'
