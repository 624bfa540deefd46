"""Export a trained network to ONNX or torch.export, with its learned sizes fixed.

The program maps a normalized image (N, 3, H, W) to logits (N, classes, H, W). It is compared with
PyTorch on random images before it is written. tools/infer.py takes the ONNX file in place of a
checkpoint.
"""

import argparse
from pathlib import Path

from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.cli.options import add_cfg_options, positive_int
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.config import read_config
from mmseg_dynopool.export import InferenceNetwork, export_program
from mmseg_dynopool.export.programs import FORMATS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--shape', type=positive_int, nargs=2, required=True, metavar=('H', 'W'),
                        help='image size; with --dynamic an example')
    parser.add_argument('--dynamic', action='store_true', help='any batch, height and width')
    parser.add_argument('--resized-input', action='store_true',
                        help="leave the resizing by the image's learned scale out: the program "
                        'takes images of the size that is printed, and its logits have that size')
    parser.add_argument('--format', choices=list(FORMATS), default='onnx')
    parser.add_argument('--out', type=Path, metavar='FILE',
                        help='default: beside the checkpoint (of a URL: here), with the '
                        'suffix of the format')
    add_cfg_options(parser)
    args = parser.parse_args()

    model = load_network(read_config(args.config, args.cfg_options), args.checkpoint)
    checkpoint = Path(args.checkpoint)
    beside = Path(checkpoint.name) if '://' in args.checkpoint else checkpoint
    out = args.out or beside.with_suffix(FORMATS[args.format])
    for row in export_program(model, out, args.shape, args.format, args.dynamic,
                              args.resized_input):
        print(f'{" x ".join(map(str, row["shape"]))}: max abs difference to PyTorch '
              f'{row["max_difference"]:.3g} (largest logit {row["max_logit"]:.3g})')
    if args.resized_input:
        resize = InferenceNetwork(model, resized_input=True).resize
        size, scale = resize.output_size(args.shape), resize.scale.tolist()
        print('takes resized images: {} x {} of {} x {}, by {:.4g} x {:.4g} to multiples of {} '
              'pixels'.format(*size, *args.shape, *scale, resize.multiple))
    print(f'ok: {out}')


if __name__ == '__main__':
    run_tool(main)
