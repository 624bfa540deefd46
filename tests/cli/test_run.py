"""An error that is meant for the user of a tool is one line."""

import sys

import pytest
from mmseg.registry import HOOKS

from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.layers import DynOPool
from mmseg_dynopool.ops import pooled_size


def ours():
    DynOPool(scale=-1)


def wrapped_by_mmengine():
    HOOKS.build(dict(type='DynOPoolHook', jitter=-1))


def of_others():
    int('seven')


def accident_in_ours():
    pooled_size((1, 2), (1.0, ))  # too few values to unpack: a ValueError


def of_others_after_ours():
    try:
        ours()
    except ValueError:
        int('seven')


@pytest.fixture(autouse=True)
def command(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['tools/train.py', 'config.py'])


@pytest.mark.parametrize('main', [ours, wrapped_by_mmengine])
def test_it_is_one_line_and_exit_code_2(main, capsys):
    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert ended.value.code == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith('train: error: ') and line.endswith(' (--debug shows where)')


def test_with_debug_it_is_a_traceback(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['tools/train.py', '--debug', 'config.py'])
    with pytest.raises(ValueError, match='scale'):
        run_tool(ours)
    assert sys.argv == ['tools/train.py', 'config.py']  # which argparse sees


@pytest.mark.parametrize('main, kind', [
    (of_others, ValueError), (accident_in_ours, ValueError), (of_others_after_ours, ValueError)])
def test_other_errors_are_tracebacks(main, kind, capsys):
    with pytest.raises(kind) as found:
        run_tool(main)
    assert not isinstance(found.value, SystemExit) and not capsys.readouterr().err
