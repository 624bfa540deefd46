"""docs/bad_input.md is the truth: each of its rows is tried, and its words must appear.

To add a row: write it in the table, and a function of its name (with ``_`` for ``-``) in a module
``cases_*.py`` beside this file. The function gets a `Bench` and returns what the user sees.
"""

import re

import pytest

from support.bench import Bench, Project, load_cases
from support.toys import ROOT

DOC = ROOT / 'docs' / 'bad_input.md'
CASES = load_cases()


def read_rows():
    """``{id: (input, words in backticks of the last column)}`` of the document's tables."""
    rows = {}
    for line in DOC.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r'(?<!\\)\|', line.strip('|'))]
        if not line.startswith('|') or cells[0] in ('id', '') or set(cells[0]) <= set('-:'):
            continue
        assert len(cells) == 3, f'not three columns: {line}'
        assert cells[0] not in rows, f'two rows are named {cells[0]}'
        rows[cells[0]] = (cells[1], re.findall(r'`([^`]+)`', cells[2]))
    return rows


ROWS = read_rows()


@pytest.fixture(scope='session')
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp('project'))


def test_each_row_has_its_case_and_each_case_its_row():
    assert set(ROWS) == set(CASES)
    assert len(ROWS) >= 150


@pytest.mark.parametrize('row', ROWS)
def test_row(row, project, tmp_path):
    words = ROWS[row][1]
    assert words, 'the row promises nothing'
    seen = ' '.join(CASES[row](Bench(tmp_path, project)).split())
    for word in words:
        assert word in seen, f'{word!r} is not in what the user sees:\n{seen[-3000:]}'
