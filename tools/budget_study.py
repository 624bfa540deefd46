"""Does a budget hold? The demo's network at exact costs, several seeds.

Writes docs/budget_results.md. Runs that have their checkpoint in the work dir already are not
repeated.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from mmseg.apis import init_model
from rich.console import Console
from rich.progress import track

from mmseg_dynopool.models import count_segmentor_gmacs

ROOT = Path(__file__).resolve().parent.parent
BUDGET = ['model.gmacs_weight=None', 'model.gmacs_budget.target={}']
RUNS = {
    'fixed strides': ('demo_fixed_mni152.py', None, []),
    'budget 0.75, streams': ('demo_dynopool_mni152.py', 0.75, []),
    'budget 0.5, streams and stem': ('demo_dynopool_mni152.py', 0.5,
                                     ['model.backbone.dynopool.stem=True']),
}


def train(config, target, options, seed, work_dir, iterations):
    """Train one network; returns its checkpoint and its val mIoU."""
    options = [*options, f'randomness.seed={seed}']
    if target is not None:
        options += [option.format(target) for option in BUDGET]
    checkpoint = work_dir / f'iter_{iterations}.pth'
    if not checkpoint.is_file():
        subprocess.run([sys.executable, ROOT / 'tools' / 'train.py', ROOT / 'configs' / config,
                        '--work-dir', work_dir, '--cfg-options', *options],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = max(work_dir.glob('*/vis_data/scalars.json'))
    mious = [json.loads(line).get('mIoU') for line in log.read_text().splitlines()]
    return checkpoint, [m for m in mious if m is not None][-1]


def gmacs(work_dir, config, checkpoint, shape):
    model = init_model(str(work_dir / config), str(checkpoint), device='cpu')
    return count_segmentor_gmacs(model, shape)


def spread(values, digits):
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f'{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/budget'))
    parser.add_argument('--out', type=Path, default=Path('docs/budget_results.md'))
    args = parser.parse_args()
    results = {name: [] for name in RUNS}
    todo = [(name, seed) for seed in args.seeds for name in RUNS]
    for name, seed in track(todo, description='training'):
        config, target, options = RUNS[name]
        work_dir = args.work_dir / f'{name.replace(", ", "_").replace(" ", "-")}_{seed}'
        checkpoint, miou = train(config, target, options, seed, work_dir, 400)
        results[name].append((miou, gmacs(work_dir, config, checkpoint, (160, 160))))
    start = statistics.mean(cost for _, cost in results['fixed strides'])
    lines = [
        '# An exact budget', '',
        f'The demo\'s network (`tools/budget_study.py`), {len(args.seeds)} seeds, mean ± standard '
        'deviation. The cost is that of the trained network, counted with its rounded sizes at '
        'the crop of 160 x 160, relative to the network with fixed strides. Equal costs in several '
        'seeds are equal rounded sizes at different scales.', '',
        '| network | mIoU | GMACs | cost | by seed |', '|---|---|---|---|---|'
    ]
    for name, found in results.items():
        mious, costs = zip(*found)
        ratios = [cost / start for cost in costs]
        lines.append(f'| {name} | {spread(mious, 2)} | {spread(costs, 4)} | {spread(ratios, 4)} '
                     f'| {", ".join(f"{r:.4f}" for r in ratios)} |')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text('\n'.join(lines) + '\n')
    Console().print('\n'.join(lines))


if __name__ == '__main__':
    main()
