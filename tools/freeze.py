"""Turn the learned scales of a checkpoint into constants.

Writes to DIR a plain config (fixed sizes, no cost in the loss, no hook), checkpoint.pth to train
on with, and weights.safetensors, which loads without unpickling anything. The network of the
written files is compared with the trained one before the tool says ok.
"""

import argparse
from pathlib import Path

from mmseg_dynopool.checkpoints import Checkpoint, load_network
from mmseg_dynopool.cli.options import add_cfg_options
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.config import read_config
from mmseg_dynopool.export import freeze_checkpoint
from mmseg_dynopool.export.budget_outcome import budget_outcome
from mmseg_dynopool.export.frozen_files import WRITTEN


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, type=Path, metavar='DIR',
                        help=f'folder for {", ".join(WRITTEN)}')
    add_cfg_options(parser)
    args = parser.parse_args()

    for name in WRITTEN:
        for given in (args.config, args.checkpoint):
            if Path(given).exists() and (args.out / name).exists() and (
                    args.out / name).samefile(given):
                raise ValueError(f'--out {args.out} would overwrite {given}; name another folder')
    cfg, checkpoint = read_config(args.config, args.cfg_options), Checkpoint.read(args.checkpoint)
    scales = freeze_checkpoint(cfg, checkpoint, args.out)
    for name, scale in scales.items():
        print('{}: scale {:.6f} x {:.6f}'.format(name, *scale))
    outcome = budget_outcome(cfg, load_network(cfg, checkpoint), checkpoint)
    if outcome:
        print(outcome)
    print(f'ok: {", ".join(WRITTEN)} in {args.out} give the trained network\'s output bit for bit')


if __name__ == '__main__':
    run_tool(main)
