"""The command lines, run as a user runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from support.toys import ROOT


def call(*command, cwd, ok=True):
    # As in an activated environment: the launch scripts call its torchrun.
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    environment = dict(os.environ, OMP_NUM_THREADS='1', PATH=path)
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, text=True,
                          capture_output=True, timeout=540)
    assert (done.returncode == 0) == ok, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def tool(name, *args, cwd, ok=True):
    return call(sys.executable, ROOT / 'tools' / f'{name}.py', *args, cwd=cwd, ok=ok)


def scalars(work_dir):
    lines = []
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return lines
