"""The command lines, in this process (which saves seconds of imports) or as a user starts them."""

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.logging import MMLogger
from mmengine.utils import ManagerMixin

from support.forks import run_script
from support.toys import ROOT

# What a user is to see; any other error (TypeError, KeyError, ...) is an accident of the code.
MEANT = (SystemExit, ValueError, OSError, ImportError, SyntaxError, FloatingPointError)


def tool(name: str, *args, cwd: Path, ok: bool = True) -> str:
    """Run ``tools/NAME.py``, or a command of ``tools/study``, in this process, in ``cwd``.

    Returns what it prints.

    Args:
        ok: whether it must succeed, or must fail with an error that is meant for its user.
    """
    path = str(ROOT / 'tools' / f'{name}.py')
    if not Path(path).is_file():
        path, args = str(ROOT / 'tools' / 'study'), (name, *args)

    def run():
        with own_singletons(), own_environment():
            runpy.run_path(path, run_name='__main__')

    return watch(run, cwd, ok, [path, *map(str, args)])


def watch(run: Callable, cwd: Path, ok: bool = True, argv: list[str] | None = None) -> str:
    """Call ``run`` in the folder ``cwd``; returns all it prints and its error."""
    printed, error = io.StringIO(), None
    with pytest.MonkeyPatch.context() as patch, \
            contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        patch.setattr(sys, 'argv', argv or sys.argv)
        patch.chdir(cwd)
        try:
            run()
        except MEANT as caught:
            error = caught
            if getattr(error, 'code', 1) not in (0, None) and ok:
                traceback.print_exc()
    seen = printed.getvalue() + (f'\n{type(error).__name__}: {error}' if error else '')
    failed = error is not None and getattr(error, 'code', 1) not in (0, None)
    assert failed != ok, seen[-6000:]
    return seen


@contextlib.contextmanager
def own_singletons():
    """Loggers, visualizers, message hubs and the default scope as in a new process.

    mmengine keeps them by name for the whole life of a process.
    """
    kept = {kind: dict(kind._instance_dict) for kind in _subclasses(ManagerMixin)}
    for kind in kept:
        kind._instance_dict.clear()
    try:
        yield
    finally:
        for logger in MMLogger._instance_dict.values():
            for handler in logger.handlers:
                handler.close()
        for kind in _subclasses(ManagerMixin):
            kind._instance_dict.clear()
            kind._instance_dict.update(kept.get(kind, {}))


def _subclasses(kind: type) -> set[type]:
    return set().union(*({sub} | _subclasses(sub) for sub in kind.__subclasses__()))


@contextlib.contextmanager
def own_environment():
    """Environment variables (mmengine sets some) as they were."""
    kept = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def process(*command, cwd: Path, ok: bool = True) -> str:
    """Run a command in a process of its own; returns what it prints."""
    # As in an activated environment: the launch scripts call its torchrun.
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    environment = dict(os.environ, OMP_NUM_THREADS='1', PATH=path)
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, text=True,
                          capture_output=True, timeout=540)
    assert (done.returncode == 0) == ok, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def script(path: Path, *args, cwd: Path, ok: bool = True) -> str:
    """Run a script in a process of its own; returns what it prints."""
    code, printed = run_script(path, *args, cwd=cwd)
    assert (code == 0) == ok, printed[-6000:]
    return printed


def tool_process(name: str, *args, cwd: Path, ok: bool = True) -> str:
    """`tool` in a process of its own, as a user starts it."""
    return script(ROOT / 'tools' / f'{name}.py', *args, cwd=cwd, ok=ok)


def scalars(work_dir: Path) -> list[dict]:
    """The lines of all logs of a run."""
    lines = []
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return lines


def on_two_processes(worker):
    """What a script of this folder prints, run by torchrun on two processes."""
    tests = Path(__file__).resolve().parent.parent
    path = os.pathsep.join([str(tests), str(tests.parent), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
         str(tests / 'support' / f'{worker}.py')],
        env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1'), text=True,
        capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stdout
