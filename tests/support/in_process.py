"""The command lines in this process: without the seconds for which a new one imports."""

import contextlib
import io
import runpy
import sys

import pytest

from support.toys import ROOT


def run_tool(name, *args, cwd):
    """Run ``tools/NAME.py`` in the folder ``cwd``; returns what it printed.

    What it raises, e.g. ``ValueError`` or ``SystemExit``, comes through.
    """
    path = str(ROOT / 'tools' / f'{name}.py')
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed), \
            contextlib.redirect_stderr(printed):
        patch.setattr(sys, 'argv', [path, *map(str, args)])
        patch.chdir(cwd)
        runpy.run_path(path, run_name='__main__')
    return printed.getvalue()
