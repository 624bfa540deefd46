"""A run that trains nothing, for the worker processes of tools/study evidence."""

import os
from pathlib import Path


def pretend(run, work_dir, scales):
    """Notes its turn; seed 1 fails, with seed 3 the process dies."""
    if run.seed == 3:
        os._exit(9)
    if run.seed == 1:
        raise RuntimeError('no memory')
    Path(work_dir).mkdir(exist_ok=True)
    with open(Path(work_dir, 'order'), 'a') as file:
        file.write(run.key + '\n')
    return dict(key=run.key, miou=50., gmacs_ratio=0.5, seconds=1., scales=run.key, given=scales)
