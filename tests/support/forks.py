"""Scripts in processes of their own, which fork from one that has torch and mmengine imported.

So they start in one second rather than in five. Nothing of mmseg or of this project is imported in
it, and the processes share nothing: each imports that by itself, as where a user starts it.
"""

import gc
import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

IMPORTED = ['torch._dynamo', 'mmengine.runner', 'matplotlib.pyplot', 'scipy.optimize']


def run_script(path: Path, *args, cwd: Path, **environment: str) -> tuple[int, str]:
    """Run a script in the folder ``cwd``; returns its exit code and what it prints.

    ``environment``: variables besides this process's own. Torch uses one thread.
    """
    done, = _run_together(path, args, cwd, [environment])
    return done


def run_ranks(path: Path, *args, cwd: Path, ranks: int) -> list[tuple[int, str]]:
    """`run_script` in ``ranks`` processes at once, with the variables that torchrun sets."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        group = dict(WORLD_SIZE=ranks, LOCAL_WORLD_SIZE=ranks, MASTER_ADDR='127.0.0.1',
                     MASTER_PORT=free.getsockname()[1])
    return _run_together(path, [*args, '--launcher', 'pytorch'], cwd, [
        {name: str(value) for name, value in dict(group, RANK=rank, LOCAL_RANK=rank).items()}
        for rank in range(ranks)])


def _run_together(path, args, cwd, environments):
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(IMPORTED)
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.NamedTemporaryFile('r')) for _ in environments]
        processes = [context.Process(target=_run, args=(
            str(path), list(map(str, args)), str(cwd), dict(os.environ, **environment), file.name))
            for environment, file in zip(environments, files)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(540)
            process.kill()
            process.join()
        return [(process.exitcode, file.read()) for process, file in zip(processes, files)]


def _run(path, args, cwd, environment, printed):
    import torch
    file = os.open(printed, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    root = Path(__file__).resolve().parents[2]
    of_the_tests = {'', str(root), str(root / 'tests'), str(root / 'tools')}
    sys.path[:] = [str(Path(path).parent), *environment.get('PYTHONPATH', '').split(os.pathsep),
                   *(entry for entry in sys.path if entry not in of_the_tests)]
    sys.argv = [path, *args]
    torch.set_num_threads(1)
    gc.freeze()
    runpy.run_path(path, run_name='__main__')
