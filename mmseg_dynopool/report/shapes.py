"""Scales, sizes and cost over the training, and the network drawn to scale.

From the logs of runs with DynOPoolHook, or, for the network alone, from a config and a checkpoint.
"""

import argparse
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from mmseg_dynopool.analysis.logs import read_logs
from mmseg_dynopool.analysis.network_sizes import NetworkSizes
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.cli.options import add_cfg_options, add_shape
from mmseg_dynopool.config import input_shape, read_config
from mmseg_dynopool.files import check_folder

from .curves import draw_evolution, evolution_size
from .figures import save_figure
from .network import draw_network, network_size

SUFFIXES = ('.png', '.pdf', '.svg')


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument('logs', nargs='*', metavar='WORK_DIR_OR_LOG',
                        help='work dirs of trainings, or their TIMESTAMP/vis_data/scalars.json')
    parser.add_argument('--config', help='config of a network to draw to scale')
    parser.add_argument('--checkpoint', help='its checkpoint; default: the initial scales')
    add_shape(parser)
    add_cfg_options(parser)
    parser.add_argument('--out', required=True, metavar='DIR_OR_FILE',
                        help='folder for evolution.png and network.png, or one file '
                        f'({", ".join(SUFFIXES)}) for both in one picture')


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if not args.logs and not args.config:
        raise ValueError('there is nothing to draw; give work dirs, or --config')
    if args.checkpoint and not args.config:
        raise ValueError(f'--checkpoint {args.checkpoint!r} needs --config, the config it was '
                         'trained with')
    in_one_file = _names_a_file(args.out)
    if not in_one_file:
        check_folder(args.out)
    runs = read_logs(args.logs)
    networks = [sizes for sizes in map(NetworkSizes.of_log, runs) if sizes]
    if args.config:
        networks.append(_load_sizes(args))
    parts = {}
    if runs:
        parts['evolution'] = evolution_size(runs), partial(draw_evolution, runs=runs)
    if networks:
        parts['network'] = network_size(networks), partial(draw_network, networks=networks)
    pictures = {Path(args.out): [*parts.values()]} if in_one_file else {
        Path(args.out, f'{name}.png'): [part] for name, part in parts.items()}
    for path, members in pictures.items():
        widths, heights = zip(*(size for size, _ in members))
        figure = Figure((max(widths), sum(heights)), layout='constrained')
        pieces = figure.subfigures(len(members), squeeze=False, wspace=0, height_ratios=heights)
        for piece, (_, draw) in zip(pieces[:, 0], members):
            draw(piece)
        save_figure(figure, path)
        print(path)
    silent = [log.name for log in runs if not log.last_sizes()]
    if silent:
        print(f'not drawn to scale, since their logs hold no sizes: {", ".join(silent)}; give '
              '--config and --checkpoint')


def _names_a_file(out: str) -> bool:
    """Whether ``--out`` is one file rather than a folder."""
    path = Path(out)
    if path.is_dir() or not path.suffix:
        return False
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f'--out {out!r} must be a folder or a file with one of the suffixes '
                         f'{", ".join(SUFFIXES)}')
    return True


def _load_sizes(args: argparse.Namespace) -> NetworkSizes:
    cfg = read_config(args.config, args.cfg_options)
    model = load_network(cfg, args.checkpoint, scales=True)
    return NetworkSizes.of_model(Path(args.checkpoint or args.config).name, model,
                                 input_shape(model.cfg, args.shape))
