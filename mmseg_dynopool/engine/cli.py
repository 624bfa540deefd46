"""What the command lines of ``tools/`` share; the options mirror mmseg's."""

import argparse
import os
from pathlib import Path

import torch
from mmengine.config import Config, DictAction

from .devices import adapt_to_devices


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing have in common."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; default: '
                        'the config\'s, else work_dirs/NAME_OF_CONFIG')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. train_dataloader.batch_size=8; lists as '
        'key="[a,b]", without blanks')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher of a distributed run')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help='set by the launcher')


def load_run_config(args: argparse.Namespace) -> Config:
    """Read the config of a command line and apply its options.

    Args:
        args: parsed options of :func:`add_run_options` and ``config``.

    Raises:
        SystemExit: the config does not exist.
    """
    if not Path(args.config).is_file():
        raise SystemExit(f'there is no config {args.config!r}; configs/ holds those of '
                         'mmseg_dynopool')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(args.config).stem))
    return adapt_to_devices(cfg)


def enable_amp(cfg: Config) -> None:
    """Train in mixed precision: as mmseg does on GPUs, in bfloat16 on a machine without.

    Raises:
        ValueError: the config has an optimizer wrapper of another type.
    """
    wrapper = cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    if kind in ('AmpOptimWrapper', 'CPUAmpOptimWrapper'):
        return
    if kind != 'OptimWrapper':
        raise ValueError(f'--amp needs optim_wrapper.type OptimWrapper, got {kind!r}')
    if torch.cuda.is_available():
        wrapper.type = 'AmpOptimWrapper'
        wrapper.loss_scale = 'dynamic'
    else:
        wrapper.type = 'CPUAmpOptimWrapper'
