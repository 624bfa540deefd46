"""How much time shapes found on small networks take on networks and images that people use.

The scales of finished runs are put into a large network of the same kind, and timed by turns with
the stock network and with its smaller input of about as many multiply-adds.
"""

import argparse
import math
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_dynopool.analysis.cost import stock_model
from mmseg_dynopool.cli.options import add_device, check_device, positive_int
from mmseg_dynopool.config import enter_scope, replace_sync_bn
from mmseg_dynopool.costs import device_name, time_alternately
from mmseg_dynopool.export.freeze import plain_model
from mmseg_dynopool.layers import freeze_pools, learned_pools
from mmseg_dynopool.layers.find import by_short_name
from mmseg_dynopool.models import count_network_gmacs
from mmseg_dynopool.models.whole_network import forward_without_postprocessing

from .image_runs import JITTERED, LEARNED, THICK, all_runs
from .lines import read_lines
from .tables import Results, markdown

ROOT = Path(__file__).resolve().parents[2]
# Config, and the runs whose scales it takes: network, data, relative cost, options.
NETWORKS = {
    'hrnet_w48_image_dynopool_cityscapes.py': ('hrnet', 'stretched_h', 0.5, LEARNED),
    'deeplabv3plus_r50_dynopool_cityscapes.py': ('deeplab', 'stretched_h', 0.5, LEARNED),
    'unet_dynopool_cityscapes.py': ('unet', 'mni152_coronal_5', 1., (*JITTERED, THICK[-1]))}
STEP = 32  # pixels, of smaller inputs


def put(scales: dict, model) -> None:
    """Set the scales of a network's levels, as far as it has them."""
    for name, pool in by_short_name(learned_pools(model)).items():
        if name in scales:
            pool.set_alpha_([1 / s for s in scales[name]])


def smaller(stock, shape: tuple[int, int], wanted: float) -> tuple[int, int]:
    """The size of the image's aspect at which the stock network costs about as much."""
    sizes = [(height, round(height * shape[1] / shape[0] / STEP) * STEP)
             for height in range(STEP, 2 * shape[0], STEP)]
    return min(sizes, key=lambda size: abs(math.log(count_network_gmacs(stock, size) / wanted)))


def measure(file: str, results: Results, seeds: list[int], shape, repeats: int, device: str
            ) -> list[list[str]]:
    """Rows of one config: what, multiply-adds, time, both relative to the stock network's."""
    config = Config.fromfile(ROOT / 'configs' / file)
    enter_scope(config)
    replace_sync_bn(config.model)
    stock = MODELS.build(stock_model(config.model)).to(device).eval()
    learned = MODELS.build(plain_model(config.model)).to(device).eval()
    network, data, ratio, options = NETWORKS[file]
    lines = results.group(network, data, 'learner', ratio, **dict(options)).lines
    shapes = {'stock': (stock, shape)}
    for line in lines:
        if line['seed'] in seeds:
            put(line['scales'], learned)
            frozen = freeze_pools(learned)  # a copy
            shapes[f'learned, seed {line["seed"]}'] = frozen, shape
            size = smaller(stock, shape, count_network_gmacs(frozen, shape))
            shapes[f'{size[0]} x {size[1]}'] = stock, size
    runs, gmacs = {}, {}
    for name, (model, size) in shapes.items():
        image = torch.rand(1, 3, *size, device=device)
        runs[name] = partial(_run, model, image)
        gmacs[name] = count_network_gmacs(model, size)
    seconds = time_alternately(runs, repeats, device)
    first = np.array(seconds['stock'])
    return [[file, name, f'{gmacs[name] / gmacs["stock"]:.3f}',
             f'{np.median(np.array(times) / first):.3f}', f'{np.median(times):.2f} s']
            for name, times in seconds.items()]


@torch.no_grad()
def _run(model, image):
    forward_without_postprocessing(model, image)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('configs', nargs='*', default=list(NETWORKS))
    parser.add_argument('--shape', type=positive_int, nargs=2, default=(512, 1024))
    parser.add_argument('--seeds', type=int, nargs='+', default=(0, 1, 2))
    parser.add_argument('--repeats', type=positive_int, default=5)
    parser.add_argument('--lines', type=Path, default=ROOT / 'docs/image_level/runs.jsonl')
    add_device(parser)
    args = parser.parse_args()
    check_device(args.device)
    results = Results(read_lines(args.lines), all_runs())
    print(device_name(args.device))
    for file in args.configs:
        print(markdown(['config', '', 'multiply-adds', 'time', 'median'], measure(
            file, results, args.seeds, tuple(args.shape), args.repeats, args.device)), flush=True)


if __name__ == '__main__':
    main()
