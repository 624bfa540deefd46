"""How long a network takes, as a function of its scales: measured here, usable elsewhere.

    python tools/latency.py CONFIG --shape 512 1024 --out latency.json

times the network at random scales and fits a weight per resolution level. A training reads the
file by dict(type='DynOPoolHook', latency_budget=dict(target_ms=25., model='latency.json')).

    python tools/latency.py CONFIG CHECKPOINT --against latency.json

times a trained network at its learned scales and compares with what the file says of them.
"""

import argparse
from pathlib import Path

from rich.console import Console

from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.cli.options import (
    add_cfg_options,
    add_device,
    add_shape,
    positive_int,
    table,
)
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.config import how_to_run, input_shape, read_config
from mmseg_dynopool.costs import LatencyModel, device_name, fit_latency, probe_complexity
from mmseg_dynopool.costs.latency_fit import measure_again
from mmseg_dynopool.files import check_folder
from mmseg_dynopool.layers.find import all_pools, short_names
from mmseg_dynopool.models.whole_network import network_forward

ALIKE = 0.15  # times of one network differ by as much between processes


def show(found):
    """Print the fit."""
    short = list(short_names(found.initial_scales).values())
    levels, settings = [], []
    for exponents, ms in found.weights.items():
        above = ' x '.join(name for name, pair in zip(short, zip(exponents[::2], exponents[1::2]))
                           if any(pair))
        levels.append((above or 'none: constant', f'{found.gmacs.get(exponents, 0):.4g}',
                       f'{ms:.4g}'))
    for setting in found.settings:
        scales = ', '.join('{:.3f} x {:.3f}'.format(*pair) for pair in setting['scales'].values())
        ms, predicted = setting['ms'], setting['predicted_ms']
        settings.append((scales, f'{ms:.4g}', f'{predicted:.4g}', f'{predicted / ms - 1:+.1%}'))
    Console().print(
        table('{} x {} x {}, {}'.format(found.batch, *found.shape, found.device),
              ('level (below the DynOPools)', 'GMACs', 'ms at the initial scales'), levels),
        table('settings, predicted by a fit to the others',
              ('scales (h x w)', 'ms', 'predicted', 'error'), settings), sep='\n')
    median, largest = found.errors
    print(f'{found.initial_ms:.4g} ms at the initial scales; leave-one-out error: median '
          f'{median:.1%}, largest {largest:.1%}')


def compare(model, found, args):
    """Time the network at its present scales, beside the initial ones.

    Raises:
        ValueError: the latency model is of another network, device or shape.
    """
    if args.shape and tuple(args.shape) != found.shape:
        raise ValueError('--shape {} {}, but {} was measured at {} x {}; leave --shape out'.format(
            *args.shape, args.against, *found.shape))
    device = device_name(args.device)
    if device != found.device:
        raise ValueError(f'{args.against} is of {found.device!r}, this is {device!r}: compare '
                         'where it was measured, or measure anew here')
    run = network_forward(model, found.shape, **how_to_run(model.cfg))
    cost = probe_complexity(model, found.shape, *run)
    found = found.told_from(cost)
    pools = {name: all_pools(model)[name] for name in cost.initial_scales}
    alphas = {name: pool.bounded_alpha().detach() for name, pool in pools.items()}
    scales = {name: (1 / alpha).tolist() for name, alpha in alphas.items()}
    measured, start_ms = measure_again(found, model, scales, *run, args.repeats)
    predicted = found.milliseconds({name: a.cpu() for name, a in alphas.items()}).item()
    print(f'{measured:.4g} ms at the present scales, the model says {predicted:.4g} ms '
          f'({predicted / measured - 1:+.1%}); at the scales of its start '
          f'{start_ms:.4g} ms now, {found.start_ms:.4g} ms then')
    if abs(start_ms / found.start_ms - 1) > ALIKE:
        print('now is unlike then: another load, or memory that goes back to the system between '
              'passes; the page Speed, A latency model, has the settings that keep it')


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint; default: the initial scales')
    add_shape(parser)
    parser.add_argument('--batch', type=positive_int, default=1)
    parser.add_argument('--settings', type=positive_int,
                        help='random scales; default: 16, or twice the number of levels')
    parser.add_argument('--repeats', type=positive_int,
                        help='turns; default: at least 8, of fast networks up to 100, in 20 s')
    parser.add_argument('--seed', type=int, default=0, help='of the scales')
    parser.add_argument('--out', default='latency.json', help='default: latency.json')
    parser.add_argument('--against', metavar='FILE',
                        help='compare with this latency model, in the place of fitting one')
    add_device(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    check_folder(Path(args.out).parent)
    model = load_network(read_config(args.config, args.cfg_options), args.checkpoint)
    model.to(args.device)
    if args.against:
        compare(model, LatencyModel.load(args.against), args)
        return
    shape = input_shape(model.cfg, args.shape)
    found = fit_latency(model, shape, *network_forward(model, shape, **how_to_run(model.cfg)),
                        args.settings, args.repeats, args.batch, args.seed)
    found.save(args.out)
    show(found)
    print(f'written: {args.out}')


if __name__ == '__main__':
    run_tool(main)
