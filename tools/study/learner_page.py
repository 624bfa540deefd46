"""Writes the tables of docs/learner.md from the finished runs."""

from pathlib import Path

from mmseg_dynopool.files import write_file

from . import learner_runs, runs
from .tables import Group, Results, difference, markdown

HEAD = ['', 'mIoU', 'cost', 'seeds']
NAMES = dict(hrnet='HRNet', deeplab='DeepLabV3+ R-18', demo="the demo's HRNet")
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
                     *map(_score, (old.group(network, data, 'measured', ratio), still, jittered)),
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
    image_head = ['data, network, cost', 'stock, cost 1', 'smaller input', 'no image level',
                  'image level', 'image level, jitter 0.1', 'image level less smaller input']
    images = []
    for network, data, ratio in learner_runs.CANDIDATES:
        if ratio != 0.5:
            continue
        still, jittered = (found.group(network, data, 'learner', ratio, image=True, **options)
                           for options in (dict(jitter=0.), {}))
        if still.lines or jittered.lines:
            stock, smaller = (_if_listed(old, network, data, method, cost)
                              for method, cost in (('stock', 1.), ('input', ratio)))
            images.append([
                f'{NAMES[network]}, {data}, {ratio:g}', *map(_score, (
                    stock, smaller, found.group(network, data, 'learner', ratio, jitter=0.), still,
                    jittered)), difference(still, smaller) if smaller else '-'])
    missing = sum(run.key not in done for run in found.runs)
    note = (f'Of the listed runs {missing} are missing: the tables are unfinished.\n'
            if missing else '')
    image = ['With [the image as the first level](image_level.md), no jitter unless named:',
             markdown(image_head, images)]
    return '\n\n'.join(['mIoU, mean ± standard deviation over seeds (n):', markdown(head, rows),
                        "The evidence's HRNet on stretched_h at half the cost:",
                        markdown(HEAD, variants), *(image if images else ()), note]).rstrip() + '\n'


def write_page(done: dict[str, dict], done_0_3: dict[str, dict], page: Path) -> None:
    """Put the tables between their marks."""
    text = page.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    write_file(page, f'{text[:begin]}\n{tables(done, done_0_3)}{text[end:]}'.encode())


def _if_listed(results: Results, *names: object) -> Group | None:
    """A group of runs; None where the study has no such runs."""
    try:
        return results.group(*names)
    except ValueError:
        return None


def _score(group: Group | None) -> str:
    return f'{group.spread("miou")} ({group.seeds})' if group and group.lines else '-'
