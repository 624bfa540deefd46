"""Does it pay? Trains the runs of docs/evidence.md and writes the page.

    python tools/dataset_converters/fashion_scenes.py
    python tools/dataset_converters/mni152.py
    python tools/evidence.py run --jobs 2      # goes on where it stopped
    python tools/evidence.py page

Each finished run is a line of docs/evidence/runs.jsonl.
"""

import argparse
import contextlib
import fcntl
import json
import multiprocessing
import os
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from mmseg_dynopool.cli.options import positive_int
from study.runs import all_runs

ROOT = Path(__file__).resolve().parent.parent


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


def train(runs, path, work_dir, jobs, finish, prepare_worker):
    """Train the runs that ``path`` does not have yet, ``jobs`` side by side."""
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
                console.print(f'{run.key}: mIoU {line["miou"]:.2f}, cost {line["gmacs_ratio"]:.3f},'
                              f' {line["seconds"]:.0f} s', markup=False, highlight=False)
                progress.advance(task)
    return failed


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', choices=('list', 'run', 'page'),
                        help='page: write docs/evidence.md and its figures from --lines')
    parser.add_argument('--only', nargs='+', default=['*'], metavar='PATTERN',
                        help="of list and run: by keys, e.g. 'hrnet/stretched_h/*/0.5/*'")
    parser.add_argument('--jobs', type=positive_int, default=1, help='runs side by side')
    parser.add_argument('--lines', type=Path, default=ROOT / 'docs/evidence/runs.jsonl')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/evidence'))
    args = parser.parse_args()
    runs = [run for run in all_runs() if any(fnmatchcase(run.key, p) for p in args.only)]
    if not runs:
        parser.error(f'no run matches {args.only}; the command list shows them')
    if args.command == 'list':
        done = read_lines(args.lines)
        print('\n'.join(f'{"done" if run.key in done else "    "} {run.key}' for run in runs))
    elif args.command == 'run':
        missing = sorted({run.folder for run in runs if not Path(run.folder).is_dir()})
        if missing:
            parser.error(f'{missing} are not there; tools/dataset_converters/ prepares them; start '
                         "everything in the project's folder")
        from study.train import finish, prepare_worker
        if train(runs, args.lines, args.work_dir, args.jobs, finish, prepare_worker):
            raise SystemExit(1)
    else:
        from study.page import write_page
        done = read_lines(args.lines)
        if not done:
            parser.error(f'{args.lines} holds no finished run; the command run trains them')
        write_page(done, ROOT / 'docs' / 'evidence.md')


if __name__ == '__main__':
    main()
