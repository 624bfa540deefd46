"""docs/classification_evidence.md: what it says is what the lines say."""

import re
import statistics

import pytest
from scipy.stats import t

from study.classifier_page import SETTINGS, Tables, write_page
from study.classifier_runs import DISTORTIONS, METHODS, ClassifierRun, all_runs
from study.lines import read_lines
from support.commands import tool
from support.toys import ROOT

LINES = ROOT / 'docs' / 'classification_evidence' / 'runs.jsonl'
PAGE = ROOT / 'docs' / 'classification_evidence.md'
DONE = read_lines(LINES)


def seeds(data, method, ratio):
    return [line for line in DONE.values()
            if (line['data'], line['method'], line['target_ratio']) == (data, method, ratio)]


def table(heading):
    """Rows of the first table after a heading, or after a sentence: ``{first cell: cells}``."""
    part = PAGE.read_text().partition(heading)[2]
    rows = re.search(r'(\|.*\n)+', part)[0].splitlines()
    cells = [[cell.strip() for cell in row.strip('|').split('|')] for row in rows]
    return {row[0]: dict(zip(cells[0][1:], row[1:])) for row in cells[2:]}


def test_the_page_is_written_from_the_lines(tmp_path):
    write_page(DONE, tmp_path / PAGE.name)
    assert (tmp_path / PAGE.name).read_text() == PAGE.read_text()
    assert (tmp_path / PAGE.stem / 'accuracy.png').stat().st_size > 10_000


def test_lines_are_runs_of_the_list():
    keys = [run.key for run in all_runs()]
    assert len(set(keys)) == len(keys) and set(DONE) <= set(keys)
    for key, line in DONE.items():
        run = ClassifierRun(line['data'], line['method'], line['target_ratio'], line['seed'])
        assert run.key == key
        # On maps of 20 x 20 one size more is several per cent.
        assert line['gmacs_ratio'] == pytest.approx(line['target_ratio'], rel=0.1)
    finished = f'{len(DONE)} of\n{len(keys)} runs are done'
    assert finished in PAGE.read_text()
    assert ('unfinished' in PAGE.read_text()) == (len(DONE) < len(keys))


@pytest.mark.parametrize('method,ratio', SETTINGS)
def test_accuracy_and_cost(method, ratio):
    name = f'{METHODS[method]}, {ratio:g}'
    for data in DISTORTIONS:
        lines = seeds(data, method, ratio)
        for heading, key, digits in (('## Accuracy', 'accuracy', 2), ('## Cost', 'gmacs_ratio', 3)):
            cell = table(heading)[name][data]
            values = [line[key] for line in lines]
            if len(values) > 1:
                mean, deviation = map(float, cell.split(' ± '))
                assert mean == pytest.approx(sum(values) / len(values), abs=0.6 * 10**-digits)
                assert deviation == pytest.approx(statistics.stdev(values), abs=0.6 * 10**-digits)
            else:
                assert cell == (f'{values[0]:.{digits}f}' if values else '-')


def test_strides_are_products_over_the_levels():
    columns = {'stretched_h (3)': 'stretched_h', 'plain (1)': 'plain',
               'stretched_w (1/3)': 'stretched_w', 'tiled (1)': 'tiled',
               'enlarged (1)': 'enlarged'}
    for method, ratio in (('measured', 0.6), ('measured', 1.), ('dynopool', 0.6)):
        row = table('## Does the shape')[f'{METHODS[method]}, {ratio:g}']
        for column, data in columns.items():
            shown = re.findall(r'[\d.]+', row[column].partition('(')[2])
            expected = [line['scales']['stride2'][1] / line['scales']['stride2'][0]
                        * line['scales']['stride4'][1] / line['scales']['stride4'][0]
                        for line in seeds(data, method, ratio)]
            assert [float(s) for s in shown] == pytest.approx(expected, abs=0.006)


def test_differences_are_welchs():
    compared = 0
    for method, ratio in (('uniform', 0.6), ('adaptor', 0.6), ('fixed', 1.)):
        row = table('less each other method')[f'less {METHODS[method]}, {ratio:g}']
        for data in DISTORTIONS:
            samples = [[line['accuracy'] for line in seeds(data, m, r)]
                       for m, r in (('measured', 0.6), (method, ratio))]
            if min(map(len, samples)) < 2:
                assert row[data] == '-'
                continue
            errors = [statistics.variance(s) / len(s) for s in samples]
            freedom = sum(errors)**2 / sum(e**2 / (len(s) - 1) for e, s in zip(errors, samples))
            half = t.ppf(0.975, freedom) * sum(errors)**0.5
            shown = [float(n) for n in row[data].split(' ± ')]
            assert shown == pytest.approx(
                [statistics.fmean(samples[0]) - statistics.fmean(samples[1]), half], abs=0.006)
            compared += 1
    assert compared >= 3


def test_an_unfinished_page_says_so(tmp_path):
    some = dict(list(DONE.items())[:-3])
    write_page(some, tmp_path / 'page.md')
    assert 'unfinished' in (tmp_path / 'page.md').read_text()
    assert len(Tables(some).seeds().split(', ')) >= 1


def test_the_command_line(tmp_path):
    printed = tool('classification_evidence', 'list', '--only', 'vgg/*/picked/*', '--lines',
                   tmp_path / 'none.jsonl', cwd=tmp_path)
    assert [line.strip() for line in printed.splitlines()] == [
        f'vgg/{data}/picked/0.6/seed{seed}' for seed in range(3)
        for data in ('stretched_h', 'stretched_w')]
    assert 'no run matches' in tool('classification_evidence', 'list', '--only', 'vgg',
                                    cwd=tmp_path, ok=False)
    assert 'holds no finished run' in tool('classification_evidence', 'page', '--lines',
                                           tmp_path / 'none.jsonl', cwd=tmp_path, ok=False)
