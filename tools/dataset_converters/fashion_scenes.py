"""Prepare scenes of garments: Fashion-MNIST composed into a segmentation data set."""

import argparse
from pathlib import Path

from mmseg_dynopool.cli.options import positive_int
from mmseg_dynopool.data.prepare_fashion_scenes import VARIANTS, prepare_fashion_scenes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('variants', nargs='*', metavar='VARIANT',
                        help=f'default: all, which are {", ".join(VARIANTS)}')
    parser.add_argument('-o', '--out-dir', type=Path, default=Path('data/fashion_scenes'),
                        help='the variants get folders of their names in it')
    parser.add_argument('--source', help="folder of Fashion-MNIST's files (default: that of "
                        "Debian's package, else data/fashion-mnist, downloaded)")
    parser.add_argument('--train', type=positive_int, default=2000, help='number of scenes')
    parser.add_argument('--val', type=positive_int, default=200, help='number of scenes')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    for variant in args.variants or VARIANTS:
        counts = prepare_fashion_scenes(args.out_dir / variant, variant, args.source, args.train,
                                        args.val, args.seed)
        print(f'{args.out_dir / variant}: '
              + ', '.join(f'{n} {split} scenes' for split, n in counts.items()))


if __name__ == '__main__':
    main()
