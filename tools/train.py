"""Train a segmentor. The options are those of mmseg's tools/train.py."""

import argparse

from mmengine.runner import Runner, find_latest_checkpoint

from mmseg_dynopool.engine import (
    LabelCheckHook,
    add_run_options,
    check_checkpoint,
    check_data,
    enable_amp,
    load_run_config,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--resume', action='store_true',
                        help='go on from the latest checkpoint in the work dir, if any')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    add_run_options(parser)
    args = parser.parse_args()

    cfg = load_run_config(args, needs=('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'))
    cfg.resume = args.resume
    if args.amp:
        enable_amp(cfg)
    check_data(cfg, 'train_dataloader', 'val_dataloader')
    runner = Runner.from_cfg(cfg)
    runner.register_hook(LabelCheckHook())
    start = cfg.get('load_from') or (find_latest_checkpoint(cfg.work_dir) if args.resume else None)
    if start:
        # A run may start from another task's weights, whose head differs; not so a resumed one.
        check_checkpoint(runner.model, start, '' if args.resume else 'backbone.')
    runner.train()


if __name__ == '__main__':
    main()
