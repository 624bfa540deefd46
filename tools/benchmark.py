"""Time a network with DynOPools beside its stock network: training step and evaluation pass.

The networks alternate in one process on the same input. Ratios to the stock network are taken
round by round; their median is what counts.
"""

import argparse
import copy
import json
import platform
import statistics
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from rich.console import Console
from rich.table import Table

from mmseg_dynopool.analysis.cost import stock_model
from mmseg_dynopool.cli.options import positive_int
from mmseg_dynopool.config import conversion_of, read_config, replace_sync_bn
from mmseg_dynopool.export import plain_model
from mmseg_dynopool.files import check_folder, write_file
from mmseg_dynopool.latency import time_alternately
from mmseg_dynopool.layers import all_pools, input_channels

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'


def learned_model(model_cfg, scale):
    """The ``model`` of a config with every DynOPool at ``scale``, where 0.5 is the stock network.

    A level whose stock scale is 0.25 gets half of ``scale``.
    """
    learned = plain_model(model_cfg)
    if conversion_of(learned) is None:
        learned.backbone.type = 'DynOPoolHRNet'
    options = dict(learned.backbone.get('dynopool') or {})
    for key in ('scale', 'bounds', 'learn'):
        options.pop(key, None)
    learned.backbone.dynopool = options
    pools = MODELS.build(learned.backbone).dynopools
    scales = {name: tuple(2 * scale * r for r in pool.stock_scale) for name, pool in pools.items()}
    learned.backbone.dynopool = dict(options, scale=scales)
    return learned


def build(model_cfg, whole, device):
    """The segmentor with random weights, or its backbone alone."""
    return MODELS.build(copy.deepcopy(model_cfg if whole else model_cfg.backbone)).to(device)


def train_step(model, image, samples):
    """Forward and backward pass: of a segmentor its losses, of a backbone the mean of its maps."""
    model.train()
    if samples:
        loss, _ = model.parse_losses(model.loss(image, samples))
    else:
        loss = sum(y.float().mean() for y in model(image))
    loss.backward()
    model.zero_grad()


@torch.no_grad()
def eval_pass(model, image, samples):
    """Forward pass."""
    model.eval()
    model(image)


def label_maps(batch, shape, device):
    """Random labels of two classes, as a segmentor's loss takes them."""
    labels = torch.randint(2, (batch, 1, *shape), device=device)
    return [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--config', default=str(CONFIGS / 'hrnet_w48_dynopool_cityscapes.py'),
                        help='of an HRNet or of a converted network')
    parser.add_argument('--whole', action='store_true',
                        help='the segmentor with its heads and losses, not the backbone alone')
    parser.add_argument('--shape', type=positive_int, nargs=2, default=(512, 1024),
                        metavar=('H', 'W'))
    parser.add_argument('--batch', type=positive_int, default=1)
    parser.add_argument('--repeats', type=positive_int, default=5)
    parser.add_argument('--scales', type=float, nargs='+', default=(0.5, 0.493),
                        help='0.5 is the stock network, also where that has a stride of 4; 0.493 '
                        'leaves the grid of the strided network')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    parser.add_argument('--json', help='also write the result to this file')
    args = parser.parse_args()
    cfg = read_config(args.config)
    if args.json:
        check_folder(Path(args.json).parent)

    init_default_scope('mmseg')
    replace_sync_bn(cfg._cfg_dict)
    stock = stock_model(cfg.model)
    if stock is None:
        raise ValueError(f'{args.config} is the config of neither an HRNet nor a converted network '
                         "(model.dynopool=dict(rule='before')): there is nothing to compare")
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    name = torch.cuda.get_device_name() if device == 'cuda' else platform.processor()
    torch.manual_seed(0)
    models = {'stock': build(stock, args.whole, device)}
    models.update({f'r = {s}': build(learned_model(cfg.model, s), args.whole, device)
                   for s in args.scales})
    image = torch.rand(args.batch, input_channels(models['stock']), *args.shape, device=device)
    samples = label_maps(args.batch, args.shape, device) if args.whole else []

    result = dict(config=args.config, whole=args.whole, shape=list(args.shape), batch=args.batch,
                  amp=args.amp, device=name, threads=torch.get_num_threads(),
                  torch=torch.__version__)
    result['scales'] = {name: {level: pool.scale.tolist() for level, pool in
                               all_pools(model).items()} for name, model in models.items()}
    table = Table(title=f'{args.batch} x 3 x {args.shape[0]} x {args.shape[1]}, {device}')
    for column in ('', 'network', 'median ms', 'fastest', 'slowest', 'ratio to stock'):
        table.add_column(column)
    for run in (train_step, eval_pass):
        # A context of its own for each run: it keeps cast weights.
        cast = torch.autocast(image.device.type, torch.bfloat16, enabled=args.amp)
        seconds = time_alternately({name: partial(cast(run), model, image, samples)
                                    for name, model in models.items()}, args.repeats, device,
                                   description=run.__name__)
        for name, times in seconds.items():
            median = statistics.median(times)
            ratio = float(np.median(np.divide(times, seconds['stock'])))
            result[f'{run.__name__} {name}'] = dict(median_s=median, ratio=ratio)
            table.add_row(run.__name__, name, f'{1e3 * median:.1f}', f'{1e3 * min(times):.1f}',
                          f'{1e3 * max(times):.1f}', f'{ratio:.3f}')
    Console().print(table)
    if args.json:
        write_file(args.json, json.dumps(result, indent=2).encode())


if __name__ == '__main__':
    main()
