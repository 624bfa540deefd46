"""Time DynOPoolHRNet beside the stock HRNet: training step and evaluation pass.

The networks alternate in one process on the same input; the medians' ratio is what counts.
"""

import argparse
import json
import platform
import statistics
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from rich.console import Console
from rich.table import Table

from mmseg_dynopool.analysis.timing import time_alternately
from mmseg_dynopool.cli.options import positive_int
from mmseg_dynopool.config import read_config
from mmseg_dynopool.files import check_folder, write_file

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'


def build(scale, config, device):
    """The config's backbone, as stock HRNet (``scale=None``) or with DynOPools at ``scale``."""
    cfg = Config.fromfile(config).model.backbone
    cfg.update(type='HRNet', norm_cfg=dict(type='BN', requires_grad=True), init_cfg=None)
    cfg.pop('dynopool', None)
    if scale is not None:
        cfg.update(type='DynOPoolHRNet', dynopool=dict(scale=scale))
    return MODELS.build(cfg).to(device)


def train_step(model, image):
    """Forward and backward pass."""
    model.train()
    sum(y.float().mean() for y in model(image)).backward()
    model.zero_grad()


@torch.no_grad()
def eval_pass(model, image):
    """Forward pass."""
    model.eval()
    model(image)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--config', default=str(CONFIGS / 'hrnet_w48_dynopool_cityscapes.py'))
    parser.add_argument('--shape', type=positive_int, nargs=2, default=(512, 1024),
                        metavar=('H', 'W'))
    parser.add_argument('--batch', type=positive_int, default=1)
    parser.add_argument('--repeats', type=positive_int, default=5)
    parser.add_argument('--scales', type=float, nargs='+', default=(0.5, 0.493),
                        help='0.493 leaves the grid of the strided network')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    parser.add_argument('--json', help='also write the result to this file')
    args = parser.parse_args()
    read_config(args.config)
    if args.json:
        check_folder(Path(args.json).parent)

    init_default_scope('mmseg')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    name = torch.cuda.get_device_name() if device == 'cuda' else platform.processor()
    torch.manual_seed(0)
    image = torch.rand(args.batch, 3, *args.shape, device=device)
    models = {'stock': build(None, args.config, device)}
    models.update({f'r = {s}': build(s, args.config, device) for s in args.scales})

    result = dict(config=args.config, shape=list(args.shape), batch=args.batch, amp=args.amp,
                  device=name, threads=torch.get_num_threads(), torch=torch.__version__)
    table = Table(title=f'{args.batch} x 3 x {args.shape[0]} x {args.shape[1]}, {device}')
    for column in ('', 'network', 'median ms', 'fastest', 'slowest', 'ratio to stock'):
        table.add_column(column)
    for run in (train_step, eval_pass):
        # A context of its own for each run: it keeps cast weights.
        cast = torch.autocast(image.device.type, torch.bfloat16, enabled=args.amp)
        seconds = time_alternately({name: partial(cast(run), model, image)
                                    for name, model in models.items()}, args.repeats, device,
                                   description=run.__name__)
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        for name, times in seconds.items():
            ratio = medians[name] / medians['stock']
            result[f'{run.__name__} {name}'] = dict(median_s=medians[name], ratio=ratio)
            table.add_row(run.__name__, name, f'{1e3 * medians[name]:.1f}',
                          f'{1e3 * min(times):.1f}', f'{1e3 * max(times):.1f}', f'{ratio:.3f}')
    Console().print(table)
    if args.json:
        write_file(args.json, json.dumps(result, indent=2).encode())


if __name__ == '__main__':
    main()
