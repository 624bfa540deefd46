"""Compose segmentation scenes of Fashion-MNIST's garments (Xiao et al., arXiv 1708.07747)."""

import argparse
import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from mmseg_dynopool.cli.options import positive_int
from mmseg_dynopool.files import make_folder, write_image

# Debian's package dataset-fashion-mnist.
INSTALLED = Path('/usr/share/datasets/fashion-mnist')
URL = 'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/'
_PREFIX = dict(train='train', val='t10k')
_SIDE = 28  # of a garment's image


@dataclass(frozen=True)
class SceneVariant:
    """How the scenes of a data set are drawn.

    A scene is composed on a canvas of ``base`` units, where a garment is about 28 units high
    and wide, and drawn with ``stretch`` pixels per unit: garments, texture and shading alike. The
    noise, as a camera's, is by pixel. Variants of one base show the same scenes.

    Attributes:
        base: canvas ``(H, W)`` in units.
        stretch: pixels per unit, height and width.
        sizes: smallest and largest size of a garment, relative to 28 units; drawn evenly by
            their logarithm.
        pitch: units from one garment's place to the next. The places form a grid, shifted and
            jittered at random, so that few garments overlap by much.
    """

    base: tuple[int, int] = (96, 96)
    stretch: tuple[float, float] = (4 / 3, 4 / 3)
    sizes: tuple[float, float] = (0.8, 1.25)
    pitch: int = 32

    @property
    def shape(self) -> tuple[int, int]:
        """Size ``(H, W)`` of the images in pixels."""
        return round(self.base[0] * self.stretch[0]), round(self.base[1] * self.stretch[1])


# All have about 16,000 pixels.
VARIANTS = dict(
    isotropic=SceneVariant(),
    stretched_h=SceneVariant(stretch=(2.25, 0.75)),
    stretched_w=SceneVariant(stretch=(0.75, 2.25)),
    mixed=SceneVariant(sizes=(0.5, 2.)),
    enlarged=SceneVariant(base=(48, 48), stretch=(8 / 3, 8 / 3)))


def prepare_fashion_scenes(out_dir: str | Path,
                           variant: str = 'isotropic',
                           source: str | Path | None = None,
                           train: int = 2000,
                           val: int = 200,
                           seed: int = 0) -> dict[str, int]:
    """Write PNG files to ``images/{train,val}`` and ``labels/{train,val}`` in ``out_dir``.

    Training scenes show garments of Fashion-MNIST's training images, validation scenes those of
    its test images. The same arguments give the same files; scenes that lay there before go.

    Args:
        out_dir: folder of the new data set.
        variant: one of ``VARIANTS``.
        source: folder with Fashion-MNIST's four ``*-ubyte.gz`` files; what is missing there is
            downloaded to it. Default: where Debian's package ``dataset-fashion-mnist`` puts
            them, else ``data/fashion-mnist``.
        train: number of training scenes.
        val: number of validation scenes.
        seed: of the composition.

    Returns:
        Scenes by split.

    Raises:
        ValueError: the variant is unknown, ``out_dir`` lies in a file, or a source file is not
            of Fashion-MNIST.
        OSError: a file is not there and cannot be downloaded.
    """
    if variant not in VARIANTS:
        raise ValueError(f'variant must be one of {list(VARIANTS)}, got {variant!r}')
    make_folder(out_dir)
    if source is None:
        source = INSTALLED if INSTALLED.is_dir() else Path('data/fashion-mnist')
    counts = dict(train=train, val=val)
    for number, (split, count) in enumerate(counts.items()):
        images, labels = read_fashion_mnist(source, split)
        for scene in Path(out_dir).glob(f'*/{split}/scene_*.png'):  # of an earlier call
            scene.unlink()
        for index in range(count):
            # A generator for each scene: more scenes leave the first ones as they are.
            image, label = compose_scene(VARIANTS[variant], images, labels,
                                         np.random.default_rng((seed, number, index)))
            for folder, array in (('images', image), ('labels', label)):
                write_image(Path(out_dir, folder, split, f'scene_{index:04d}.png'), array)
    return counts


def read_fashion_mnist(source: str | Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(N, 28, 28)`` and classes ``(N,)``, 0 to 9, of ``'train'`` or ``'val'``."""
    images, labels = (_read_idx(Path(source, f'{_PREFIX[split]}-{name}-ubyte.gz'), dims)
                      for name, dims in (('images-idx3', 3), ('labels-idx1', 1)))
    if images.shape[1:] != (_SIDE, _SIDE) or len(images) != len(labels):
        raise ValueError(f'the files in {str(source)!r} hold images of shape {images.shape} and '
                         f'{len(labels)} labels, not Fashion-MNIST; get them from {URL}')
    return images, labels


def _read_idx(path: Path, dims: int) -> np.ndarray:
    if not path.is_file():
        make_folder(path.parent)
        try:
            torch.hub.download_url_to_file(URL + path.name, str(path), progress=False)
        except OSError as error:
            raise OSError(f'{path} is not there and cannot be downloaded from {URL} ({error}); '
                          "install Debian's package dataset-fashion-mnist, or put it there"
                          ) from error
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise ValueError(f'{path} is damaged ({error}); remove it, it is downloaded again'
                         ) from error
    header = np.frombuffer(content[:4 + 4 * dims], '>i4')
    return np.frombuffer(content[4 + 4 * dims:], np.uint8).reshape(header[1:])


def compose_scene(variant: SceneVariant, images: np.ndarray, labels: np.ndarray,
                  rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One scene.

    Args:
        variant: how it is drawn.
        images: garments ``(N, 28, 28)`` on black.
        labels: their classes ``(N,)``, from 0.
        rng: draws garments, places and texture. Noise comes last, so that variants of one base
            show the same scene.

    Returns:
        Image ``(H, W)`` and label map ``(H, W)``, 8 bits; label 0 is the background, class c is
        c + 1.
    """
    canvas = _texture(variant, rng)
    label = np.zeros(variant.shape, np.uint8)
    low, high = map(math.log, variant.sizes)
    for centre in _places(variant, rng):
        index = rng.integers(len(images))
        size = math.exp(rng.uniform(low, high))
        top, left = centre - _SIDE * size / 2
        brightness = rng.uniform(0.7, 1)
        garment = images[index][:, ::rng.choice((-1, 1))]
        warp = _warper(variant, size, (top, left))
        mask = warp((garment > 0).astype(np.float32)) > 0.5
        canvas[mask] = brightness * (100 + 0.6 * warp(garment.astype(np.float32))[mask])
        label[mask] = labels[index] + 1
    canvas += rng.normal(0, 8, variant.shape)
    return canvas.clip(0, 255).round().astype(np.uint8), label


def _places(variant: SceneVariant, rng: np.random.Generator) -> np.ndarray:
    """Centres of the garments ``(N, 2)`` in units, in the order in which they are drawn."""
    shift = rng.uniform(0, variant.pitch, 2)
    grid = np.mgrid[[slice(-variant.pitch, n + variant.pitch, variant.pitch)
                     for n in variant.base]].reshape(2, -1).T
    jitter = rng.uniform(-1, 1, grid.shape) * variant.pitch / 5
    return rng.permutation(grid + shift + jitter)


def _warper(variant: SceneVariant, size: float, corner: tuple[float, float]
            ) -> Callable[[np.ndarray], np.ndarray]:
    """Draws an image of 28 x 28 at ``size`` with its upper left corner at ``corner``, in units."""
    (top, left), (down, right) = corner, variant.stretch
    # Pixel centres lie at 0.5, 1.5, ... of an image's length.
    matrix = np.array([[size * right, 0, right * (left + size / 2) - 0.5],
                       [0, size * down, down * (top + size / 2) - 0.5]], np.float64)
    return lambda image: cv2.warpAffine(image, matrix, variant.shape[::-1],
                                        flags=cv2.INTER_LINEAR)


def _texture(variant: SceneVariant, rng: np.random.Generator) -> np.ndarray:
    """Smooth random spots of three sizes, 4, 8 and 32 units, around a dark grey."""
    canvas = np.full(variant.shape, 50., np.float32)
    for length, contrast in ((4, 8), (8, 10), (32, 12)):
        grid = rng.normal(0, contrast, [n // length + 3 for n in variant.base])
        down, right = (length * s for s in variant.stretch)
        shift = rng.uniform(-2, -1, 2)
        matrix = np.array([[right, 0, right * shift[1]], [0, down, down * shift[0]]], np.float64)
        canvas += cv2.warpAffine(grid.astype(np.float32), matrix, variant.shape[::-1],
                                 flags=cv2.INTER_CUBIC)
    return canvas


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
