"""Train a segmentor. The options are those of mmseg's tools/train.py."""

import argparse

from mmengine.runner import Runner

from mmseg_dynopool.checkpoints.verify import check_checkpoint
from mmseg_dynopool.cli.options import add_run_options, enable_amp, load_run_config
from mmseg_dynopool.data.check import check_data
from mmseg_dynopool.hooks.label_check import LabelCheckHook
from mmseg_dynopool.resume.exact_resume import make_resumable
from mmseg_dynopool.resume.latest import resume_from_latest


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--resume', action='store_true',
                        help='go on from the latest checkpoint in the work dir, if any')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    add_run_options(parser)
    args = parser.parse_args()

    cfg = load_run_config(args, needs=('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'))
    if args.resume:
        resume_from_latest(cfg)
    if args.amp:
        enable_amp(cfg)
    check_data(cfg, 'train_dataloader', 'val_dataloader')
    runner = Runner.from_cfg(make_resumable(cfg))
    runner.register_hook(LabelCheckHook())
    if cfg.get('load_from'):
        # A run may start from another task's weights, whose head differs; not so a resumed one.
        resume = bool(cfg.get('resume'))
        check_checkpoint(runner.model, cfg.load_from, '' if resume else 'backbone.', resume)
    runner.train()


if __name__ == '__main__':
    main()
