"""Prepare the demo's data set: brain tissue in slices of the MNI152 template."""

import argparse

from mmseg_dynopool.data.prepare_mni152 import prepare_mni152


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('-o', '--out-dir', default='data/mni152', help='folder to write to')
    args = parser.parse_args()
    counts = prepare_mni152(args.out_dir)
    print(f'{args.out_dir}: ' + ', '.join(f'{n} {split} slices' for split, n in counts.items()))


if __name__ == '__main__':
    main()
