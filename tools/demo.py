"""The demo: brain tissue at half of the cost, in minutes on two CPU cores.

Prepares the data and trains three networks the same way: a stock one, the same on smaller images,
and one that learns the sizes of image and streams, at the cost of the second. Compares them, draws
predictions and writes a report.
"""

import argparse
from pathlib import Path

import cv2
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.apis import inference_model, init_model
from rich.console import Console

from mmseg_dynopool.analysis.cost import learned_scales, resized_images
from mmseg_dynopool.cli.options import add_cfg_options, positive_int, table
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.data.check import check_data
from mmseg_dynopool.data.prepare_mni152 import prepare_mni152
from mmseg_dynopool.models import count_network_gmacs
from mmseg_dynopool.report.comparison import draw_comparison
from mmseg_dynopool.report.page import run_report

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'
STOCK, LEARNED = 'stock', 'image + DynOPool'
NETWORKS = {STOCK: 'demo_fixed_mni152.py', 'smaller input': 'demo_smaller_mni152.py',
            LEARNED: 'demo_dynopool_mni152.py'}
ITERATIONS = 300  # of the configs' 400: three trainings are to take no longer than a few minutes


def schedule(iterations):
    """The settings of a training of so many iterations."""
    half = iterations // 2
    return {'train_cfg.max_iters': iterations, 'param_scheduler.0.end': iterations,
            'train_cfg.val_interval': half, 'default_hooks.checkpoint.interval': half}


def train(name, work_dir, data_dir, options):
    """Train one network; returns its config, its last checkpoint and its val mIoU."""
    cfg = Config.fromfile(CONFIGS / NETWORKS[name])
    cfg.work_dir = str(work_dir / Path(cfg.work_dir).name)
    # mmengine shares a visualizer by its name: each run needs its own.
    cfg.visualizer.name = Path(cfg.work_dir).name
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].dataset.data_root = str(data_dir)
    cfg.merge_from_dict(schedule(ITERATIONS) | (options or {}))
    check_data(cfg, 'train_dataloader', 'val_dataloader')
    runner = Runner.from_cfg(cfg)
    runner.train()
    miou = runner.message_hub.get_scalar('val/mIoU').current()
    return cfg, Path(cfg.work_dir, f'iter_{runner.iter}.pth'), float(miou)


def describe(model, shape):
    """GMACs; names, sizes and scales of the image and the streams, a line for each."""
    with torch.no_grad():
        features = model.backbone(torch.zeros(1, 3, *shape))
    sizes = dict(image=next(iter(resized_images(model, shape)), shape))
    sizes |= {f'stream{k}': y.shape[2:] for k, y in enumerate(features)}
    scales = learned_scales(model)
    columns = zip(*((name, '{} x {}'.format(*size), '{:.3f} x {:.3f}'.format(*scales[name])
                     if name in scales else '') for name, size in sizes.items()))
    return f'{count_network_gmacs(model, shape):.4f}', *map('\n'.join, columns)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data-dir', type=Path, default=Path('data/mni152'))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'))
    parser.add_argument('--images', type=positive_int, default=6, help='number of pictures')
    parser.add_argument('--repeats', type=positive_int, default=20,
                        help='timed passes of each network, for the report')
    add_cfg_options(parser)
    args = parser.parse_args()

    counts = prepare_mni152(args.data_dir)
    print(f'{args.data_dir}: {counts["train"]} training and {counts["val"]} validation slices')
    models, rows = {}, []
    for name in NETWORKS:
        cfg, checkpoint, miou = train(name, args.work_dir, args.data_dir, args.cfg_options)
        models[name] = init_model(cfg, str(checkpoint), device='cpu')
        rows.append((name, f'{miou:.2f}',
                     *describe(models[name], cfg.model.data_preprocessor.size)))

    images = sorted((args.data_dir / 'images' / 'val').glob('*.png'))
    for path in images[::max(1, len(images) // args.images)][:args.images]:
        image = cv2.imread(str(path))
        truth = cv2.imread(str(args.data_dir / 'labels' / 'val' / path.name), cv2.IMREAD_GRAYSCALE)
        results = {
            name: inference_model(model, image).pred_sem_seg.data[0].numpy()
            for name, model in models.items()
        }
        draw_comparison(image, {'truth': truth, **results}, models[LEARNED].dataset_meta,
                        args.work_dir / f'{path.stem}.png')
    folders = {name: args.work_dir / Path(model.cfg.work_dir).name
               for name, model in models.items()}
    report = run_report(folders.pop(LEARNED), [*folders.values()], args.work_dir / 'report.html',
                        min(args.images, 3), args.repeats,
                        'cuda:0' if torch.cuda.is_available() else 'cpu')
    Console().print(table('Brain tissue in the MNI152 template, validation slices',
                          ('network', 'mIoU', 'GMACs', 'map', 'h x w', 'scale'), rows, left=6))
    print(f'Pictures (image, truth, predictions): {args.work_dir}/axial_*.png')
    print(f'Report, to open in a browser: {report}')


if __name__ == '__main__':
    run_tool(main)
