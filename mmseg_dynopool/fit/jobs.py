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
        """It goes on from its folder's last checkpoint, if there is one."""
        return [sys.executable, '-m', 'mmseg_dynopool', 'train', str(self.config), '--work-dir',
                str(self.folder), '--resume', '--debug']


def run_jobs(jobs: Sequence[Job], device: str) -> None:
    """Run trainings, as many side by side as there are GPUs.

    Raises:
        RuntimeError: one failed; its folder holds what it printed.
    """
    gpus = torch.cuda.device_count() if device.startswith('cuda') else 0
    free: SimpleQueue[str | None] = SimpleQueue()
    for gpu in range(gpus):
        free.put(str(gpu))
    if not gpus:
        free.put(None)

    def run(job: Job) -> None:
        gpu = free.get()
        try:
            visible = {} if gpu is None else dict(CUDA_VISIBLE_DEVICES=gpu)
            log = job.folder / f'{job.config.stem}.log'
            with log.open('w') as printed:
                done = subprocess.run(job.command, stdout=printed, stderr=subprocess.STDOUT,
                                      env=os.environ | visible)
            if done.returncode or not job.is_done:
                last = log.read_text().strip().splitlines()[-1:]
                raise RuntimeError(f'the fine-tuning of {job.folder.name} failed '
                                   f'({"".join(last)}); see {log}')
        finally:
            free.put(gpu)

    with ThreadPoolExecutor(max(1, gpus)) as pool:
        for finished in pool.map(run, jobs):
            assert finished is None


def write_plan(jobs: Sequence[Job], folder: Path) -> Path:
    """Write the commands of those that are not done, a line each, and a Slurm array of them."""
    commands = folder / 'commands.txt'
    lines = [shlex.join(job.command) for job in jobs if not job.is_done]
    write_file(commands, ''.join(f'{line}\n' for line in lines).encode())
    slurm = _SLURM.format(count=len(lines), commands=shlex.quote(str(commands.resolve())))
    write_file(folder / 'array.sh', slurm.encode())
    return commands
