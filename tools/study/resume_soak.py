"""Kill a training again and again, and see that it ends as if nothing had happened.

Trains once without interruption, then kills the same training with SIGKILL at random moments,
resuming it each time, and compares the last checkpoints bit for bit. For small configs:

    python tools/study resume_soak configs/demo_dynopool_mni152.py --kills 20 \\
        --cfg-options train_cfg.max_iters=40 default_hooks.checkpoint.interval=2
"""

import argparse
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from mmseg_dynopool.resume.latest import checkpoint_differences, latest_checkpoint

TRAIN = Path(__file__).resolve().parents[1] / 'train.py'


def train(config, work_dir, options, kill_after=None):
    """Train or resume; returns seconds, and whether the process was killed on the way."""
    command = [sys.executable, str(TRAIN), config, '--work-dir', str(work_dir), '--resume']
    if options:
        command += ['--cfg-options', *options]
    work_dir.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with (work_dir / 'output.txt').open('a') as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            code = process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return time.monotonic() - start, True
    if code:
        raise SystemExit(f'the training failed with code {code}; see {log.name}')
    return time.monotonic() - start, False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('--kills', type=int, default=20, help='number of kills')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/resume_soak'))
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE',
                        help='override settings of the config')
    args = parser.parse_args()
    if args.work_dir.exists():
        raise SystemExit(f'{args.work_dir} exists; name an empty --work-dir')

    console = Console(markup=False)
    moments = random.Random(args.seed)
    whole, _ = train(args.config, args.work_dir / 'reference', args.cfg_options)
    reference = latest_checkpoint(args.work_dir / 'reference')
    console.print(f'uninterrupted: {whole:.0f} s, {reference}')
    kills = runs = 0
    failed = []
    while kills < args.kills:
        runs += 1
        work_dir = args.work_dir / f'killed_{runs}'
        killed, here = True, 0
        while killed:
            moment = moments.uniform(0.0, whole) if kills < args.kills else None
            _, killed = train(args.config, work_dir, args.cfg_options, moment)
            kills, here = kills + killed, here + killed
            if killed:
                console.print(f'kill {kills} after {moment:.1f} s, {latest_checkpoint(work_dir)}')
        differences = checkpoint_differences(reference, latest_checkpoint(work_dir))
        console.print(f'run {runs}, killed {here} times: '
                      + (f'differs in {differences[:5]}' if differences else 'equal, bit for bit'))
        failed += differences
        if not differences:
            shutil.rmtree(work_dir)
    if failed:
        raise SystemExit('a resumed run ended elsewhere')
    console.print(f'{kills} kills, {runs} runs: all equal to the uninterrupted one')


if __name__ == '__main__':
    main()
