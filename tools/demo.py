"""The demo: learned against fixed resolutions on brain tissue, in minutes on two CPU cores.

Prepares the data, trains both networks the same way, compares them, draws predictions and writes
a report.
"""

import argparse
from pathlib import Path

import cv2
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.apis import inference_model, init_model
from rich.console import Console
from rich.table import Table

from mmseg_dynopool.cli.options import add_cfg_options, positive_int
from mmseg_dynopool.data.check import check_data
from mmseg_dynopool.data.prepare_mni152 import prepare_mni152
from mmseg_dynopool.models import count_network_gmacs
from mmseg_dynopool.report.comparison import draw_comparison
from mmseg_dynopool.report.run_report import run_report

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'
NETWORKS = {'fixed strides': 'demo_fixed_mni152.py', 'DynOPool': 'demo_dynopool_mni152.py'}


def train(name, work_dir, data_dir, options):
    """Train one network; returns its config, its last checkpoint and its val mIoU."""
    cfg = Config.fromfile(CONFIGS / NETWORKS[name])
    cfg.work_dir = str(work_dir / Path(cfg.work_dir).name)
    # mmengine shares a visualizer by its name: each run needs its own.
    cfg.visualizer.name = Path(cfg.work_dir).name
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].dataset.data_root = str(data_dir)
    cfg.merge_from_dict(options or {})
    check_data(cfg, 'train_dataloader', 'val_dataloader')
    runner = Runner.from_cfg(cfg)
    runner.train()
    miou = runner.message_hub.get_scalar('val/mIoU').current()
    return cfg, Path(cfg.work_dir, f'iter_{runner.iter}.pth'), float(miou)


def describe(model, shape):
    """GMACs, feature sizes and scales of a trained network at an image of ``shape``."""
    gmacs = count_network_gmacs(model, shape)
    with torch.no_grad():
        features = model.backbone(torch.zeros(1, 3, *shape))
    sizes = ', '.join(f'{y.shape[2]} x {y.shape[3]}' for y in features)
    pools = getattr(model.backbone, 'dynopools', {})
    scales = ', '.join('{:.3f} x {:.3f}'.format(*pool.scale.tolist()) for pool in pools.values())
    return f'{gmacs:.4f}', sizes, scales or '0.5 x 0.5 everywhere'


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
    table = Table(title='Brain tissue in the MNI152 template, validation slices')
    for column in ('network', 'mIoU', 'GMACs', 'feature sizes (h x w)', 'scales (h x w)'):
        table.add_column(column)
    models = {}
    for name in NETWORKS:
        cfg, checkpoint, miou = train(name, args.work_dir, args.data_dir, args.cfg_options)
        models[name] = init_model(cfg, str(checkpoint), device='cpu')
        table.add_row(name, f'{miou:.2f}',
                      *describe(models[name], cfg.model.data_preprocessor.size))

    images = sorted((args.data_dir / 'images' / 'val').glob('*.png'))
    for path in images[::max(1, len(images) // args.images)][:args.images]:
        image = cv2.imread(str(path))
        truth = cv2.imread(str(args.data_dir / 'labels' / 'val' / path.name), cv2.IMREAD_GRAYSCALE)
        results = {
            name: inference_model(model, image).pred_sem_seg.data[0].numpy()
            for name, model in models.items()
        }
        draw_comparison(image, {'truth': truth, **results}, models['DynOPool'].dataset_meta,
                        args.work_dir / f'{path.stem}.png')
    learned, fixed = (args.work_dir / Path(models[name].cfg.work_dir).name
                      for name in ('DynOPool', 'fixed strides'))
    report = run_report(learned, fixed, args.work_dir / 'report.html', min(args.images, 3),
                        args.repeats, 'cuda:0' if torch.cuda.is_available() else 'cpu')
    Console().print(table)
    print(f'Pictures (image, truth, predictions): {args.work_dir}/axial_*.png')
    print(f'Report, to open in a browser: {report}')


if __name__ == '__main__':
    main()
