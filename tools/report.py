"""Write a report of a training: one HTML page that opens from the disk, without a network."""

import argparse

from mmseg_dynopool.cli.options import add_cfg_options, add_device, positive_int
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.report.page import run_report


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', help='folder of the training')
    parser.add_argument('--baseline', metavar='WORK_DIR', nargs='+',
                        help='other trainings to compare with, e.g. of the stock network')
    parser.add_argument('--out', help='HTML file; default: WORK_DIR/report.html')
    parser.add_argument('--images', type=positive_int, default=3,
                        help='how many of the best validation images to show, and of the worst')
    parser.add_argument('--repeats', type=positive_int, default=20,
                        help='timed passes of each network')
    parser.add_argument('--shape', type=positive_int, nargs=2, metavar=('H', 'W'),
                        help='size at which cost and sizes count; default: the training crop')
    add_device(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    print('report:', run_report(args.work_dir, args.baseline, args.out, args.images,
                                args.repeats, args.device, args.shape, args.cfg_options))


if __name__ == '__main__':
    run_tool(main)
