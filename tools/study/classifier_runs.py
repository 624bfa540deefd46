"""The list of runs of docs/classification_evidence.md, in the order in which they are trained."""

from dataclasses import dataclass, replace

SIDE = 20
SEEDS = 3


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
METHODS = dict(
    fixed='stock strides',
    uniform='uniform fixed scales',
    picked='fixed scales, picked for the stretch',
    adaptor='Shape Adaptor, budget',
    dynopool='DynOPool, budget, straight-through gradient',
    measured='DynOPool, budget, measured gradient',
    retrained='its learned scales, fixed and trained anew')


@dataclass(frozen=True)
class ClassifierRun:
    """One training: on a distortion, by a method, at a counted cost relative to the stock VGG."""

    data: str
    method: str
    ratio: float
    seed: int

    @property
    def key(self) -> str:
        """Its name, in the JSON lines and for ``--only``."""
        return f'vgg/{self.data}/{self.method}/{self.ratio:g}/seed{self.seed}'

    @property
    def needs(self) -> str | None:
        """Key of the run whose scales it takes over."""
        return replace(self, method='measured').key if self.method == 'retrained' else None


def all_runs() -> list[ClassifierRun]:
    """Every run once; three seeds of each."""
    first = (('fixed', 1.), ('measured', 0.6), ('uniform', 0.6), ('picked', 0.6), ('measured', 1.),
             ('adaptor', 0.6))
    then = ('retrained', 0.6), ('dynopool', 0.6)
    return [ClassifierRun(data, method, ratio, seed)
            for settings in (first, then) for seed in range(SEEDS)
            for data, distortion in DISTORTIONS.items() for method, ratio in settings
            if not (method == 'picked' and distortion.stretch == 1)
            and not (method == 'dynopool' and data in ('tiled', 'enlarged'))]
