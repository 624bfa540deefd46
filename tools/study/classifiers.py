"""The runs of docs/classification_evidence.md: a narrow VGG on distorted garments."""

from dataclasses import dataclass
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / 'configs/classification/evidence_vgg_fashion.py'
FOLDER = Path('data/fashion_mnist')
SIDE = 24


@dataclass(frozen=True)
class Distortion:
    """How garments are distorted.

    Attributes:
        transform: of the data pipeline, or None.
        shape: ``(H, W)`` of the images in pixels.
        stretch: of the garments, height to width.
    """

    transform: dict | None
    shape: tuple[int, int]
    stretch: float = 1.


DISTORTIONS = dict(
    plain=Distortion(None, (SIDE, SIDE)),
    stretched_h=Distortion(dict(type='StretchImage', factor=3., axis='height'),
                           (3 * SIDE, SIDE), 3.),
    stretched_w=Distortion(dict(type='StretchImage', factor=3., axis='width'),
                           (SIDE, 3 * SIDE), 1 / 3),
    tiled=Distortion(dict(type='TileImage'), (2 * SIDE, 2 * SIDE)),
    enlarged=Distortion(dict(type='EnlargeImage'), (2 * SIDE, 2 * SIDE)))
