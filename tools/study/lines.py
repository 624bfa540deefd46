"""Train a list of runs, each of which ends as a JSON line; go on where that stopped."""

import contextlib
import fcntl
import json
import multiprocessing
import os
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn


def read_lines(path):
    """The finished runs by key."""
    done = {}
    for number, text in enumerate(path.read_text(errors='replace').splitlines()
                                  if path.exists() else (), 1):
        try:
            line = json.loads(text)
            done[line['key']] = line
        except (ValueError, KeyError, TypeError):
            raise SystemExit(f'{path}, line {number} is no finished run; remove it, and that run '
                             'is trained again') from None
    return done


@contextlib.contextmanager
def open_alone(path):
    """Open for lines to come; of two processes that train the same runs, one would lose."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'a') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SystemExit(f'{path}: another process trains these runs') from None
        yield file


def train(runs, path, work_dir, jobs, finish, prepare_worker, score='miou'):
    """Train the runs that ``path`` does not have yet, ``jobs`` side by side.

    Args:
        runs: each has a ``key``, and in ``needs`` the key of the run whose scales it takes.
        path: JSON lines of the finished runs.
        work_dir: for the runs' files.
        jobs: worker processes.
        finish: ``(run, work_dir, scales)`` to the run's line.
        prepare_worker: called in each worker.
        score: what is printed of a line, beside its cost.

    Returns:
        Keys of runs that failed.
    """
    os.environ['OMP_NUM_THREADS'] = '1'  # inherited by the workers
    console = Console()
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn(elapsed_when_finished=True))
    failed = []
    workers = ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn'), prepare_worker)
    with open_alone(path) as file, workers as pool, Progress(
            *columns, console=console, speed_estimate_period=3600) as progress:
        done = read_lines(path)
        waiting = [run for run in runs if run.key not in done]
        task = progress.add_task('runs', total=len(waiting))
        running = {}
        while waiting or running:
            ready = [run for run in waiting if run.needs is None or run.needs in done]
            for run in ready[:jobs - len(running)]:
                scales = done[run.needs]['scales'] if run.needs else None
                running[pool.submit(finish, run, work_dir, scales)] = run
                waiting.remove(run)
            if not running:
                needed = sorted({run.needs for run in waiting})
                console.print(f'{len(waiting)} runs wait for others that failed or were not '
                              f'chosen: {" ".join(needed)}', markup=False)
                failed += [run.key for run in waiting]
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                run = running.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    raise SystemExit('a worker process died, perhaps for lack of memory; start '
                                     'again, with fewer --jobs')
                if error is not None:
                    failed.append(run.key)
                    console.print(f'{run.key} failed: {error.__cause__}', markup=False)
                    continue
                line = done[run.key] = future.result()
                file.write(json.dumps(line) + '\n')
                file.flush()
                console.print(f'{run.key}: {score} {line[score]:.2f}, cost '
                              f'{line["gmacs_ratio"]:.3f}, {line["seconds"]:.0f} s',
                              markup=False, highlight=False)
                progress.advance(task)
    return failed
