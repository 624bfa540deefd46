"""Test a segmentor or a classifier. The options are those of mmseg's tools/test.py."""

import argparse

from mmengine.registry import METRICS
from mmseg.evaluation import IoUMetric
from torch import nn

from mmseg_dynopool.checkpoints import Checkpoint, Runner
from mmseg_dynopool.checkpoints.runner import build_runner
from mmseg_dynopool.cli.options import add_run_options, end_distributed_run, load_run_config
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.config import find_type, how_to_run, is_segmentor, metrics_of
from mmseg_dynopool.data.check import check_data
from mmseg_dynopool.files import check_folder
from mmseg_dynopool.hooks import LabelCheckHook
from mmseg_dynopool.models.cost import describe_gmacs, watch_shapes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='folder for the predicted label maps')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='folder for predictions painted on the images')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds between windows')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    add_run_options(parser)
    args = parser.parse_args()

    needs = ['model', 'test_dataloader', 'test_evaluator', 'test_cfg']
    cfg = load_run_config(args, needs + ['tta_pipeline', 'tta_model'] * args.tta)
    if not is_segmentor(cfg.model) and (args.out or args.show or args.show_dir or args.tta):
        parser.error('--out, --show, --show-dir and --tta are of segmentors')
    for folder in (args.out, args.show_dir):
        if folder:
            check_folder(folder)
    checkpoint = Checkpoint.read(args.checkpoint)
    cfg.load_from = args.checkpoint
    check_data(cfg, 'test_dataloader')
    if args.show or args.show_dir:
        # Every image: upstream's hook draws one in `interval` batches, by default one in 50.
        hook = dict(draw=True, interval=1, show=args.show, wait_time=args.wait_time)
        if (cfg.get('default_hooks') or {}).get('visualization') is None:
            hook['type'] = 'mmseg.SegVisualizationHook'
        cfg.merge_from_dict({'default_hooks.visualization': hook})
        if not cfg.get('visualizer'):
            cfg.visualizer = dict(type='mmseg.SegLocalVisualizer', name='show_dir',
                                  vis_backends=[dict(type='LocalVisBackend')])
        if args.show_dir:
            cfg.visualizer.save_dir = args.show_dir
    if args.tta:
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.tta_model.module = cfg.model
        cfg.model = cfg.tta_model
    if args.out:
        for metric in metrics_of(cfg.test_evaluator):
            kind = find_type(METRICS, metric)
            if isinstance(kind, type) and issubclass(kind, IoUMetric):  # which writes label maps
                metric.update(output_dir=args.out, keep_results=True)
    runner = build_runner(cfg)
    runner.register_hook(LabelCheckHook())
    if isinstance(runner.model, nn.Module):  # a FlexibleRunner builds it when it tests
        checkpoint.verify(runner.model)
    if isinstance(runner, Runner):
        runner.checkpoint = checkpoint
    del checkpoint  # the runner drops it when it is loaded
    with watch_shapes(runner.model) as shapes:
        runner.test()
    runner.logger.info('cost of one image: %s',
                       describe_gmacs(runner.model, shapes, **how_to_run(cfg)))
    end_distributed_run()


if __name__ == '__main__':
    run_tool(main)
