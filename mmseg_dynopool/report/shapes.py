"""Scales, sizes and cost over the training, and the network drawn to scale.

From the logs of runs with DynOPoolHook, or, for the network alone, from a config and a checkpoint.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mmseg_dynopool.analysis.logs import RunLog, read_logs
from mmseg_dynopool.analysis.network_sizes import NetworkSizes
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.cli.options import add_cfg_options, positive_int
from mmseg_dynopool.config import counted_shape, read_config
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
    parser.add_argument('--shape', type=positive_int, nargs=2, metavar=('H', 'W'),
                        help='with --config: input size; default: gmacs_shape, else the training '
                        'crop')
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
    if not _suffix(args.out):
        check_folder(args.out)
    runs = read_logs(args.logs)
    networks = [sizes for sizes in map(NetworkSizes.of_log, runs) if sizes]
    if args.config:
        networks.append(_load_sizes(args))
    for path in draw_shapes(runs, networks, args.out):
        print(path)
    silent = [log.name for log in runs if not log.last_sizes()]
    if silent:
        print(f'not drawn to scale, since their logs hold no sizes: {", ".join(silent)}; give '
              '--config and --checkpoint')


def draw_shapes(runs: Sequence[RunLog], networks: Sequence[NetworkSizes],
                out: str | Path) -> list[Path]:
    """Draw the evolution of ``runs`` and ``networks`` to scale; either may be empty.

    ``out`` is a folder for ``evolution.png`` and ``network.png``, or a .png, .pdf or .svg file for
    both. The files written are returned.

    Raises:
        ValueError: see `evolution` and `compare_sizes`.
    """
    parts = {}
    if runs:
        parts['evolution'] = (evolution_size(runs), lambda part: draw_evolution(part, runs))
    if networks:
        parts['network'] = (network_size(networks), lambda part: draw_network(part, networks))
    if _suffix(out):
        files = {Path(out): [*parts.values()]}
    else:
        files = {Path(out, f'{name}.png'): [part] for name, part in parts.items()}
    for path, members in files.items():
        widths, heights = zip(*(size for size, _ in members))
        figure = Figure((max(widths), sum(heights)), layout='constrained')
        pieces = figure.subfigures(len(members), squeeze=False, wspace=0, height_ratios=heights)
        for piece, (_, draw) in zip(pieces[:, 0], members):
            draw(piece)
        save_figure(figure, path)
    return list(files)


def _suffix(out: str | Path) -> str:
    """Suffix of a file to write; empty for a folder."""
    path = Path(out)
    suffix = path.suffix.lower()
    if path.is_dir() or not suffix:
        return ''
    if suffix not in SUFFIXES:
        raise ValueError(f'--out {str(out)!r} must be a folder or a file with one of the suffixes '
                         f'{", ".join(SUFFIXES)}')
    return suffix


def _load_sizes(args: argparse.Namespace) -> NetworkSizes:
    cfg = read_config(args.config, args.cfg_options)
    model = load_network(cfg, args.checkpoint, scales=True)
    shape = args.shape or counted_shape(model.cfg)
    if shape is None:
        raise ValueError(f'the config {args.config!r} names no training crop; give --shape H W')
    return NetworkSizes.of_model(Path(args.checkpoint or args.config).name, model, shape)
