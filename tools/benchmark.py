"""Time a network with DynOPools beside its stock network: training step and evaluation pass.

The networks alternate in one process on the same input. Ratios to the stock network are taken
round by round; their median is what counts.
"""

import argparse
import copy
import json
import statistics
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from rich.console import Console

from mmseg_dynopool.analysis.cost import stock_model
from mmseg_dynopool.cli.options import positive_int, table
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.config import conversion_of, enter_scope, read_config, replace_sync_bn
from mmseg_dynopool.costs import count_gmacs, device_name, time_alternately
from mmseg_dynopool.export.freeze import plain_model
from mmseg_dynopool.files import check_folder, write_file
from mmseg_dynopool.layers.find import all_pools, input_channels
from mmseg_dynopool.layers.image import IMAGE
from mmseg_dynopool.models import count_network_gmacs

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'


def parse_setting(text):
    """Type of ``--scales``: the text, ``'stem'``, ``'image'`` or ``''``, and the pair of scales."""
    first, _, scales = text.rpartition(':')
    try:
        pair = [float(part) for part in scales.split('x')]
    except ValueError:
        pair = []
    if len(pair) not in (1, 2) or min(pair) <= 0 or first not in ('', 'stem', IMAGE):
        raise argparse.ArgumentTypeError(
            f"must be a scale such as 0.4, or 0.4x0.36, or stem:0.42, or image:0.7, got {text!r}")
    return text, first, (pair[0], pair[-1])


def learned_model(model_cfg, first, scale):
    """The ``model`` of a config with every DynOPool at ``scale``, where 0.5 is the stock network.

    A level whose stock scale is 0.25 gets half of ``scale``. The image is whole. ``first``:
    ``'stem'`` with DynOPools in an HRNet's stem, ``'image'`` with the image alone at ``scale``.
    """
    learned = plain_model(model_cfg)
    if conversion_of(learned) is None:
        learned.backbone.type = 'DynOPoolHRNet'
    options = dict(learned.backbone.get('dynopool') or {})
    for key in ('scale', 'bounds', 'learn'):
        options.pop(key, None)
    if first == IMAGE:
        options[IMAGE] = True
    elif first:
        options = {name: value for name, value in options.items()
                   if name not in (IMAGE, 'multiple')} | {first: True}
    learned.backbone.dynopool = options
    pools = MODELS.build(learned.backbone).dynopools
    scales = {name: pool.stock_scale if IMAGE in (name, first) else tuple(
        2 * s * r for s, r in zip(scale, pool.stock_scale)) for name, pool in pools.items()}
    if first == IMAGE:
        scales[IMAGE] = scale
    learned.backbone.dynopool = dict(options, scale=scales)
    return learned


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
    parser.add_argument('--scales', nargs='+', type=parse_setting, metavar='SCALE',
                        default=[parse_setting('0.5'), parse_setting('0.493')],
                        help='0.5 is the stock network, also where that has a stride of 4; 0.493 '
                        'leaves the grid of the strided network; 0.4x0.36 for height and width '
                        'apart; stem:0.42 for the stem of an HRNet, too; image:0.7 for the '
                        'image alone')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--json', help='also write the result to this file')
    args = parser.parse_args()
    cfg = read_config(args.config)
    if args.json:
        check_folder(Path(args.json).parent)

    enter_scope(cfg)
    replace_sync_bn(cfg._cfg_dict)
    stock = stock_model(cfg.model)
    if stock is None:
        raise ValueError(f'{args.config} is the config of neither an HRNet nor a converted network '
                         "(model.dynopool=dict(rule='before')): there is nothing to compare")
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.manual_seed(0)
    configs = {'stock': stock} | {f'r = {text}': learned_model(cfg.model, *setting)
                                  for text, *setting in args.scales}
    models = {name: MODELS.build(copy.deepcopy(model if args.whole else model.backbone)).to(device)
              for name, model in configs.items()}
    image = torch.rand(args.batch, input_channels(models['stock']), *args.shape, device=device)
    if args.channels_last:
        image = image.to(memory_format=torch.channels_last)
        for model in models.values():
            model.to(memory_format=torch.channels_last)
    samples = label_maps(args.batch, args.shape, device) if args.whole else []

    result = dict(config=args.config, whole=args.whole, shape=list(args.shape), batch=args.batch,
                  amp=args.amp, channels_last=args.channels_last, device=device_name(device),
                  torch=torch.__version__)
    result['scales'] = {name: {level: pool.scale.tolist() for level, pool in
                               all_pools(model).items()} for name, model in models.items()}
    rows = []
    gmacs = {name: count_network_gmacs(model, args.shape) if args.whole else count_gmacs(
        model, args.shape, image.shape[1]) for name, model in models.items()}

    def cast():  # a context of its own for each run: it keeps cast weights
        return torch.autocast(image.device.type, torch.bfloat16, enabled=args.amp)

    for run in (train_step, eval_pass):
        seconds = time_alternately({name: partial(cast()(run), model, image, samples)
                                    for name, model in models.items()}, args.repeats, device,
                                   description=run.__name__)
        for name, times in seconds.items():
            median = statistics.median(times)
            low, ratio, high = np.percentile(np.divide(times, seconds['stock']),
                                             (25, 50, 75)).tolist()
            compute = gmacs[name] / gmacs['stock']
            result[f'{run.__name__} {name}'] = dict(
                median_s=median, ratio=ratio, quartiles=[low, high], gmacs_ratio=compute)
            rows.append((run.__name__, name, f'{gmacs[name]:.4g}', f'{compute:.3f}',
                         f'{1e3 * median:.1f}', f'{ratio:.3f}', f'{low:.3f} to {high:.3f}'))
    Console().print(table(
        f'{args.batch} x 3 x {args.shape[0]} x {args.shape[1]}, {device}',
        ('', 'network', 'GMACs', 'ratio', 'median ms', 'ratio', 'quartiles'), rows, left=7))
    if args.json:
        write_file(args.json, json.dumps(result, indent=2).encode())


if __name__ == '__main__':
    run_tool(main)
