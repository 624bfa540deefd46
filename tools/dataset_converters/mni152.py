"""Prepare data of brain tissue in slices of the MNI152 template; without options the demo's.

    python tools/dataset_converters/mni152.py
    python tools/dataset_converters/mni152.py --plane coronal --thick 5 -o data/mni152_coronal_5

The second are images of thick axial slices, 5 mm high and 1 mm wide.
"""

import argparse

from mmseg_dynopool.cli.options import positive_int
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.data.prepare_mni152 import PLANES, prepare_mni152


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-o', '--out-dir', default='data/mni152', help='folder to write to')
    parser.add_argument('--plane', choices=PLANES, default='axial')
    parser.add_argument('--thick', type=positive_int, metavar='MM',
                        help='thickness of the axial slices that a coronal or sagittal image shows')
    args = parser.parse_args()
    counts = prepare_mni152(args.out_dir, args.plane, args.thick)
    print(f'{args.out_dir}: ' + ', '.join(f'{n} {split} slices' for split, n in counts.items()))


if __name__ == '__main__':
    run_tool(main)
