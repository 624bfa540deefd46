"""How information is distributed over height and width in a data set, and where to start.

Reads images and label maps as they lie on the disk, before any augmentation.
"""

import argparse
import json

from rich.console import Console
from rich.progress import track

from mmseg_dynopool.analysis.data_set import analyze, image_scale, starting_scales
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.cli.options import add_cfg_options, positive_int, result_on_stdout, table
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.config import read_config
from mmseg_dynopool.data.check import check_data
from mmseg_dynopool.data.listing import read_samples
from mmseg_dynopool.files import check_png
from mmseg_dynopool.layers import ImageResize, learned_pools
from mmseg_dynopool.layers.find import by_short_name
from mmseg_dynopool.layers.image import IMAGE
from mmseg_dynopool.report.dataset_curves import describe, draw_analysis
from mmseg_dynopool.report.figures import save_figure


def show(result, console):
    """Print the tables."""
    parts = {'images': result['image'], 'label maps': result['label']}
    parts = {name: part for name, part in parts.items() if part is not None}
    columns = zip(*(part['energy_above'] for part in parts.values()), strict=True)
    rows = [(f'1/{1 / row[0]["scale"]:.0f}',
             *('{:.1%} | {:.1%}'.format(*cell['share']) for cell in row)) for row in columns]
    rows.append(('keeps 95 %', *('{:.3f} | {:.3f}'.format(*part['scale_keeping_95'])
                                 for part in parts.values())))
    console.print(table('energy above what a scale keeps (height | width)',
                        ('scale', *parts), rows, left=0))
    if result['label'] is not None:
        console.print('boundaries of classes per pixel: {:.4f} along the height, {:.4f} along '
                      'the width'.format(*result['label']['boundaries_per_pixel']))
    for name, part in [*parts.items(), ('both', result)]:
        console.print(f'{name}: contents {describe(part["stretch"], part["stretch_error"])} as '
                      'long in height as in width')
    scales = result['starting_scales']
    of_image = IMAGE in scales
    console.print(f'to undo this{"" if of_image else " at the cost of 0.5 x 0.5"}, start with\n  '
                  f'dynopool=dict({"image=True, " if of_image else ""}scale={scales})',
                  soft_wrap=True)


def analysis(args):
    """What is printed, by name."""
    loader = f'{args.split}_dataloader'
    cfg = read_config(args.config, args.cfg_options, needs=[loader])
    check_data(cfg, loader)
    samples = read_samples(cfg[loader].dataset, args.images)
    result = analyze(track(samples, 'reading images', console=Console(stderr=True),
                           transient=True, total=args.images))
    pools = by_short_name(learned_pools(load_network(cfg, None))) if 'model' in cfg else {}
    pools = {name: pool for name, pool in pools.items() if not pool.tied}
    images = {name: image_scale(result['stretch'], pool.bounds) for name, pool in pools.items()
              if isinstance(pool, ImageResize)}
    if pools:  # else the image's own size is where to start
        scales = starting_scales(result['stretch'], len(pools))
        result['starting_scales'] = images or dict(zip(pools, scales.values()))
    if args.out:
        save_figure(draw_analysis(result), args.out)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('--split', choices=['train', 'val'], default='train',
                        help='whose data loader names the data set (default: train)')
    parser.add_argument('--images', type=positive_int, default=50,
                        help='how many to read, evenly spread (default: 50)')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.add_argument('--out', help='PNG file for a picture of the curves')
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.out:
        check_png(args.out)
    with result_on_stdout() as stdout:
        result = analysis(args)
    if args.json:
        print(json.dumps(result, indent=2), file=stdout)
    else:
        show(result, Console(file=stdout, markup=False))


if __name__ == '__main__':
    run_tool(main)
