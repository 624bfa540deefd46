"""Segment images: writes overlays and label maps.

Takes one image or a folder. For NAME.jpg, OUT/overlays/NAME.png shows the prediction on the
image and OUT/labels/NAME.png holds the class of each pixel.
"""

import argparse
from contextlib import nullcontext

import torch
from rich.progress import track

from mmseg_dynopool.checkpoints.load import load_segmentor
from mmseg_dynopool.cli.options import ConfigOptions, check_device
from mmseg_dynopool.cli.segment import segment_images
from mmseg_dynopool.config import read_config
from mmseg_dynopool.data.images import find_images
from mmseg_dynopool.models.seen_shapes import describe_gmacs, watch_shapes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint, .safetensors or .onnx file')
    parser.add_argument('image', help='an image, or a folder of images')
    parser.add_argument('--out', required=True, help='folder to write to')
    parser.add_argument('--device', default='cuda:0' if torch.cuda.is_available() else 'cpu',
                        help='default: a GPU if there is one')
    parser.add_argument('--opacity', type=float, default=0.5, help='of the overlay, 0 to 1')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE',
                        help='override settings of the config')
    args = parser.parse_args()
    read_config(args.config, args.cfg_options)  # first, with the images: the network takes time
    check_device(args.device)

    images = find_images(args.image)
    model = load_segmentor(args.config, args.checkpoint, args.device, args.cfg_options,
                           onnx=True)
    done = segment_images(model, images, args.out, args.opacity)
    counts = hasattr(model, 'backbone')  # an ONNX file's operators are not PyTorch's
    with watch_shapes(model) if counts else nullcontext() as shapes:
        for _ in track(done, description='segmenting', total=len(images)):
            pass
    print(f'{len(images)} images: overlays and label maps in {args.out}')
    if counts:
        print(f'cost of one image: {describe_gmacs(model, shapes)}')


if __name__ == '__main__':
    main()
