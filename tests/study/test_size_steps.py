"""tools/study size_steps, on times that are known."""

import pytest

from mmseg_dynopool import costs
from support.commands import tool


@pytest.mark.parametrize('flags', [[], ['--train']])
def test_it_runs(tmp_path, flags):
    printed = tool('size_steps', '--channels', 2, '--sizes', 8, 40, '--repeats', 1, *flags,
                   cwd=tmp_path)
    assert 'of 16' in printed and printed.count('±') == 3


def test_a_step_is_found(tmp_path, monkeypatch):
    def timed(runs, repeats, device):
        areas = {name: 2 * int(name)**2 for name in runs}
        return {name: [(0.9 if int(name) % 8 == 0 else 1.0) * (5 + area)] * repeats
                for name, area in areas.items()}

    monkeypatch.setattr(costs, 'time_alternately', timed)
    printed = tool('size_steps', '--channels', 2, cwd=tmp_path)
    row, = (line.split('│')[1:-1] for line in printed.splitlines() if line.startswith('│'))
    by_4, by_8, by_16 = (float(cell.partition('±')[0]) for cell in row[1:4])
    assert by_8 == pytest.approx(0.9, abs=0.004)
    assert 0.9 < by_4 < 0.97 and 0.9 < by_16 < 0.97


def test_too_short_a_range(tmp_path):
    assert '--sizes must span at least 32 sizes' in tool('size_steps', '--sizes', 8, 20,
                                                         cwd=tmp_path, ok=False)
