"""Are feature sizes that are multiples of 4, 8 or 16 faster than their neighbours?

Times a 3 x 3 convolution with norm and ReLU at every size of a range, by turns. The time of a
pixel is compared with its trend over the sizes.
"""

import argparse
from functools import partial

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from mmseg_dynopool.cli.options import add_device, check_device, positive_int
from mmseg_dynopool.costs import device_name, time_alternately


def excess_times(channels, sizes, batch, train, repeats, device):
    """Time per pixel at maps of ``n x 2n``, relative to a smooth trend, ``(sizes,)``."""
    layer = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                          nn.BatchNorm2d(channels), nn.ReLU()).to(device).train(train)

    def run(image):
        with torch.set_grad_enabled(train):
            output = layer(image)
            if train:
                output.backward(output.detach())

    images = {str(n): torch.rand(batch, channels, n, 2 * n, device=device, requires_grad=train)
              for n in sizes}
    seconds = np.array(list(time_alternately(
        {name: partial(run, image) for name, image in images.items()}, repeats, device).values()))
    logs = np.log(np.median(seconds, axis=1))
    positions = np.log(sizes)
    return np.exp(logs - np.polyval(np.polyfit(positions, logs, 2), positions))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--channels', type=positive_int, nargs='+', default=(48, 96, 192))
    parser.add_argument('--sizes', type=positive_int, nargs=2, default=(24, 72),
                        metavar=('FIRST', 'LAST'))
    parser.add_argument('--batch', type=positive_int, default=1)
    parser.add_argument('--train', action='store_true', help='forward and backward pass')
    parser.add_argument('--repeats', type=positive_int, default=9)
    add_device(parser)
    args = parser.parse_args()
    check_device(args.device)
    sizes = np.arange(args.sizes[0], args.sizes[1] + 1)
    if len(sizes) < 32:
        parser.error(f'--sizes must span at least 32 sizes, got {args.sizes}')
    table = Table(title=f'time of multiples relative to the others, {device_name(args.device)}')
    for column in ('channels', *(f'of {n}' for n in (4, 8, 16)), 'scatter'):
        table.add_column(column, justify='right')
    for channels in args.channels:
        excess = excess_times(channels, sizes, args.batch, args.train, args.repeats, args.device)
        cells = []
        for n in (4, 8, 16):
            inside, outside = excess[sizes % n == 0], excess[sizes % n != 0]
            error = np.hypot(inside.std(ddof=1) / len(inside)**0.5,
                             outside.std(ddof=1) / len(outside)**0.5)
            cells.append(f'{inside.mean() / outside.mean():.3f} ± {2 * error:.3f}')
        table.add_row(str(channels), *cells, f'{excess.std():.3f}')
    Console().print(table)


if __name__ == '__main__':
    main()
