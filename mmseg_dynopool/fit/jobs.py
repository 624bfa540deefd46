"""Fine-tunings as ordinary commands: run here, or written down for a scheduler."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import torch

from mmseg_dynopool.files import write_file

_SLURM = '''#!/bin/sh
#SBATCH --array=1-{count}
#SBATCH --gres=gpu:1
# Each task runs a line of the list; then call fit again with the same options.
eval "$(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {commands})"
'''


class Job(NamedTuple):
    """A training: its config, its folder, and the checkpoint that says that it is done."""

    config: Path
    folder: Path
    checkpoint: Path

    @property
    def is_done(self) -> bool:
        return self.checkpoint.is_file()

    @property
    def command(self) -> list[str]:
        """It resumes from its folder's last checkpoint, if there is one."""
        return [sys.executable, '-m', 'mmseg_dynopool', 'train', str(self.config.resolve()),
                '--work-dir', str(self.folder.resolve()), '--resume', '--debug']

    def run(self, **environment: str) -> None:
        """Run it; if it fails, a RuntimeError names the file of what it printed."""
        log = self.folder / f'{self.config.stem}.log'
        with log.open('w') as printed:
            done = subprocess.run(self.command, stdout=printed, stderr=subprocess.STDOUT,
                                  env=os.environ | environment)
        if done.returncode or not self.is_done:
            last = log.read_text().strip().splitlines()[-1:]
            raise RuntimeError(f'the fine-tuning of {self.folder.name} failed '
                               f'({"".join(last)}); see {log}')


def run_jobs(jobs: Sequence[Job], device: str) -> None:
    """Run trainings, as many side by side as there are GPUs."""
    gpus = range(torch.cuda.device_count() if device.startswith('cuda') else 0)
    places = [dict(CUDA_VISIBLE_DEVICES=str(gpu)) for gpu in gpus] or [{}]
    free: SimpleQueue[dict[str, str]] = SimpleQueue()
    for place in places:
        free.put(place)

    def run(job: Job) -> None:
        place = free.get()
        try:
            job.run(**place)
        finally:
            free.put(place)

    with ThreadPoolExecutor(len(places)) as pool:
        list(pool.map(run, jobs))  # raises what one of them raised


def write_plan(jobs: Sequence[Job], folder: Path) -> Path:
    """Write the commands of those that are not done, a line each, and a Slurm array of them."""
    commands = folder / 'commands.txt'
    lines = [shlex.join(job.command) for job in dict.fromkeys(jobs) if not job.is_done]
    write_file(commands, ''.join(f'{line}\n' for line in lines).encode())
    slurm = _SLURM.format(count=len(lines), commands=shlex.quote(str(commands.resolve())))
    write_file(folder / 'array.sh', slurm.encode())
    return commands
