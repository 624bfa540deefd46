"""Train a segmentor or a classifier. The options are those of mmseg's tools/train.py."""

import argparse

from torch import nn

from mmseg_dynopool.checkpoints import Checkpoint, Runner
from mmseg_dynopool.checkpoints.checkpoint import read_pretrained
from mmseg_dynopool.checkpoints.runner import build_runner
from mmseg_dynopool.cli.options import (
    add_run_options,
    enable_amp,
    end_distributed_run,
    load_run_config,
)
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.data.check import check_data
from mmseg_dynopool.hooks import LabelCheckHook
from mmseg_dynopool.resume import make_resumable, resume_from_latest


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--resume', action='store_true',
                        help='go on from the latest checkpoint in the work dir, if any')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    add_run_options(parser)
    args = parser.parse_args()

    cfg = load_run_config(args, needs=('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'))
    checkpoint = resume_from_latest(cfg) if args.resume else None
    if args.amp:
        enable_amp(cfg)
    check_data(cfg, 'train_dataloader', 'val_dataloader')
    if checkpoint is None and cfg.get('load_from'):
        checkpoint = Checkpoint.read(cfg.load_from)
    runner = build_runner(make_resumable(cfg))
    runner.register_hook(LabelCheckHook())
    is_built = isinstance(runner.model, nn.Module)  # a FlexibleRunner builds it when it trains
    if is_built:
        read_pretrained(runner.model)
    if checkpoint is not None and is_built:
        # A run may start from another task's weights, whose head and image differ; not so a
        # resumed one.
        resume = bool(cfg.get('resume'))
        checkpoint.verify(runner.model, '' if resume else 'backbone.', resume, partly=not resume)
        if isinstance(runner, Runner):
            runner.checkpoint = checkpoint
        del checkpoint  # the runner drops it when it is loaded
    runner.train()
    end_distributed_run()


if __name__ == '__main__':
    run_tool(main)
