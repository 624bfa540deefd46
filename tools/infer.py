"""Segment images: writes overlays and label maps.

Takes one image or a folder, and reads them by the loader of the config's test pipeline. For
NAME.jpg, OUT/overlays/NAME.png shows the prediction on the image and OUT/labels/NAME.png holds the
class of each pixel.
"""

import argparse
from contextlib import nullcontext

from rich.progress import track

from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.cli.options import add_cfg_options, add_device, check_segmentor
from mmseg_dynopool.cli.run import run_tool
from mmseg_dynopool.cli.segment import segment_images
from mmseg_dynopool.config import how_to_run, read_config
from mmseg_dynopool.data.images import find_images
from mmseg_dynopool.data.pipeline import ImagePipeline
from mmseg_dynopool.export import OnnxSegmentor
from mmseg_dynopool.models.cost import describe_gmacs, watch_shapes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint, .safetensors or .onnx file')
    parser.add_argument('image', help='an image, or a folder of images')
    parser.add_argument('--out', required=True, help='folder to write to')
    add_device(parser)
    parser.add_argument('--opacity', type=float, default=0.5, help='of the overlay, 0 to 1')
    add_cfg_options(parser)
    args = parser.parse_args()
    cfg = read_config(args.config, args.cfg_options)  # first: the network takes time
    check_segmentor(cfg, 'infer')

    images = find_images(args.image, ImagePipeline(cfg).suffixes)
    is_onnx = args.checkpoint.endswith('.onnx')
    model = OnnxSegmentor(args.checkpoint, cfg) if is_onnx else load_network(
        cfg, args.checkpoint, args.device)
    done = segment_images(model, images, args.out, args.opacity)
    # An ONNX file's operators are not PyTorch's.
    with nullcontext() if is_onnx else watch_shapes(model) as shapes:
        for _ in track(done, description='segmenting', total=len(images)):
            pass
    print(f'{len(images)} images: overlays and label maps in {args.out}')
    if not is_onnx:
        print(f'cost of one image: {describe_gmacs(model, shapes, **how_to_run(cfg))}')


if __name__ == '__main__':
    run_tool(main)
