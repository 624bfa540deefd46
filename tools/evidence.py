"""Does it pay? Trains the runs of docs/evidence.md and writes the page.

    python tools/dataset_converters/fashion_scenes.py
    python tools/dataset_converters/mni152.py
    python tools/evidence.py run --jobs 2      # goes on where it stopped
    python tools/evidence.py page

Each finished run is a line of docs/evidence/runs.jsonl.
"""

import argparse
import json
import multiprocessing
import os
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from mmseg_dynopool.cli.options import positive_int
from study.runs import all_runs

ROOT = Path(__file__).resolve().parent.parent


def read_lines(path):
    """The finished runs by key."""
    if not path.is_file():
        return {}
    lines = map(json.loads, path.read_text().splitlines())
    return {line['key']: line for line in lines}


def train(runs, path, work_dir, jobs, finish, prepare_worker):
    """Train the runs that ``path`` does not have yet, ``jobs`` side by side."""
    os.environ['OMP_NUM_THREADS'] = '1'  # inherited by the workers
    done = read_lines(path)
    waiting = [run for run in runs if run.key not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    console = Console()
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn(elapsed_when_finished=True))
    failed = []
    with ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn'), prepare_worker) as pool, \
            Progress(*columns, console=console, speed_estimate_period=3600) as progress:
        task = progress.add_task('runs', total=len(waiting))
        running = {}
        while waiting or running:
            ready = [run for run in waiting if run.needs is None or run.needs in done]
            for run in ready[:jobs - len(running)]:
                scales = done[run.needs]['scales'] if run.needs else None
                running[pool.submit(finish, run, work_dir, scales)] = run
                waiting.remove(run)
            if not running:
                console.print(f'{len(waiting)} runs wait for others that are not listed or failed')
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                run = running.pop(future)
                if future.exception() is not None:
                    failed.append(run.key)
                    console.print(f'{run.key} failed: {future.exception().__cause__}', markup=False)
                    continue
                line = done[run.key] = future.result()
                with open(path, 'a') as file:
                    file.write(json.dumps(line) + '\n')
                console.print(f'{run.key}: mIoU {line["miou"]:.2f}, cost {line["gmacs_ratio"]:.3f},'
                              f' {line["seconds"]:.0f} s', markup=False, highlight=False)
                progress.advance(task)
    return failed


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', choices=('list', 'run', 'page'))
    parser.add_argument('--only', nargs='+', default=['*'], metavar='PATTERN',
                        help="runs by their keys, e.g. 'hrnet/stretched_h/*/0.5/*'")
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
            parser.error(f'{missing} are not there; tools/dataset_converters/ prepares them, run '
                         'in this folder')
        from study.train import finish, prepare_worker
        if train(runs, args.lines, args.work_dir, args.jobs, finish, prepare_worker):
            raise SystemExit(1)
    else:
        from study.page import write_page
        write_page(read_lines(args.lines), ROOT / 'docs' / 'evidence.md')


if __name__ == '__main__':
    main()
