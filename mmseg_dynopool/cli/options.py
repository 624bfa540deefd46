"""What the command lines of ``tools/`` share; the options mirror mmseg's."""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TextIO

import torch
import torch.distributed
from mmengine.config import Config, DictAction
from rich.table import Table

from mmseg_dynopool.config import adapt_to_devices, is_segmentor, read_config, type_name
from mmseg_dynopool.files import make_folder


class ConfigOptions(DictAction):
    """mmengine's ``KEY=VALUE`` options, with a message for malformed ones."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Sequence[str], option_string: str | None = None) -> None:
        for value in values or []:
            if '=' not in value[1:]:
                parser.error(f'{option_string} takes KEY=VALUE, got {value!r}')
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:  # brackets that don't match
            parser.error(f'{option_string} {" ".join(values)}: {error}; write lists as '
                         'key="[a,b]", without blanks')


def positive_int(text: str) -> int:
    """Type of an option that is a whole number of at least 1."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'must be a whole number >= 1, got {text!r}')
    return int(text)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE',
        help='override settings of the config, e.g. train_dataloader.batch_size=8; lists as '
        'key="[a,b]", without blanks')


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``; see `check_device`."""
    parser.add_argument('--device', default='cuda:0' if torch.cuda.is_available() else 'cpu',
                        type=check_device, help='default: a GPU if there is one')


def add_shape(parser: argparse.ArgumentParser) -> None:
    """Add ``--shape``; see `config.input_shape`."""
    parser.add_argument('--shape', type=positive_int, nargs=2, metavar=('H', 'W'),
                        help="input size; default: the config's training crop")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing have in common."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; default: '
                        'the config\'s, else work_dirs/NAME_OF_CONFIG')
    add_cfg_options(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='job launcher of a distributed run')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help='set by the launcher')


def check_device(device: str) -> str:
    """Exit if a device cannot hold a tensor; else return it."""
    try:
        torch.empty(0, device=device)
    except Exception as error:  # RuntimeError, AssertionError or others, by device and build
        reason = str(error).partition('\n')[0]
        raise SystemExit(f'--device {device!r} cannot be used here ({reason}); give cpu, cuda or '
                         'cuda:NUMBER') from error
    return device


def check_segmentor(cfg: Config, command: str) -> None:
    """Exit if the config of a command is a classifier's."""
    if not is_segmentor(cfg.model):
        raise SystemExit(f'{command} takes segmentors, and this config is of a classifier')


def load_run_config(args: argparse.Namespace, needs: Sequence[str] = ('model', )) -> Config:
    """Read the config of a command line by the options of `add_run_options`; make its work dir."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options, needs)
    if cfg.get('default_scope') == 'mmpretrain':  # our hooks and samplers in its registries
        import_module('mmseg_dynopool.classification')
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(
        Path('work_dirs', Path(args.config).stem))
    make_folder(cfg.work_dir)
    return adapt_to_devices(cfg)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1
          ) -> Table:
    """A table whose first ``left`` columns are text, the others numbers."""
    found = Table(title=title)
    for number, column in enumerate(columns):
        found.add_column(column, justify='left' if number < left else 'right')
    for row in rows:
        found.add_row(*row)
    return found


@contextmanager
def result_on_stdout() -> Iterator[TextIO]:
    """Yield stdout for a command's result; what packages and configs print goes to stderr."""
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        yield stdout


def end_distributed_run() -> None:
    """Leave the process group.

    Gloo's threads need Python's lock to free the tensors of the last exchange: one that asks for it
    when the interpreter ends already aborts the process.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        time.sleep(0.2)  # without the lock


def enable_amp(cfg: Config) -> None:
    """Train in mixed precision: as mmseg does on GPUs, in bfloat16 without a GPU."""
    wrapper = cfg.optim_wrapper
    kind = type_name(wrapper) or 'OptimWrapper'
    if kind in ('AmpOptimWrapper', 'CPUAmpOptimWrapper'):
        return
    if kind != 'OptimWrapper':
        raise ValueError(f'--amp needs optim_wrapper.type OptimWrapper, got {kind!r}')
    wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    adapt_to_devices(cfg)
