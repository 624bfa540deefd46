"""Draw what DynOPool does: docs/dynopool.png of the README. Computed, not drawn by hand."""

import argparse

import torch
from matplotlib.figure import Figure

from mmseg_dynopool.ops import dynopool2d, pooled_size
from mmseg_dynopool.report.figures import save_figure


def draw(axis, image, alpha, title):
    """One input with the output's cells and the four queries of each laid over it."""
    height, width = image.shape
    out_h, out_w = pooled_size(image.shape, alpha)
    axis.imshow(image, cmap='Blues', extent=(0, width, height, 0), vmin=-0.3, vmax=1.6)
    for i in range(1, out_h):
        axis.axhline(i * height / out_h, color='tab:brown', lw=2)
    for j in range(1, out_w):
        axis.axvline(j * width / out_w, color='tab:brown', lw=2)
    y = (torch.arange(2 * out_h) + 0.5) / 2 * height / out_h
    x = (torch.arange(2 * out_w) + 0.5) / 2 * width / out_w
    grid = torch.cartesian_prod(y, x)
    axis.plot(grid[:, 1], grid[:, 0], 'o', color='tab:orange', ms=5, mec='white')
    axis.set_title(f'{title}\n{height} x {width} to {out_h} x {out_w}', fontsize=10)
    axis.set_xticks(range(width + 1), [])
    axis.set_yticks(range(height + 1), [])
    axis.grid(color='white', lw=0.8)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='docs/dynopool.png')
    args = parser.parse_args()
    torch.manual_seed(4)
    image = torch.rand(8, 12)
    learned = (8 / 3, 12 / 7)
    figure = Figure(figsize=(12, 3.2), layout='constrained')
    axes = figure.subplots(1, 3)
    draw(axes[0], image, (2.0, 2.0), 'start: r = (0.50, 0.50), 2 x 2 max pooling')
    draw(axes[1], image, learned, 'learned: r = (0.38, 0.58)')
    pooled = dynopool2d(image[None, None], torch.tensor(learned))[0, 0]
    axes[2].imshow(pooled, cmap='Blues', vmin=-0.3, vmax=1.6, extent=(0, 12, 8, 0))
    axes[2].set_title('output of the learned one:\nmaximum of the four queries', fontsize=10)
    axes[2].set_axis_off()
    save_figure(figure, args.out)


if __name__ == '__main__':
    main()
