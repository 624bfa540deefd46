"""The sizes of an image at which a network costs what it may."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

from mmseg_dynopool.costs import Cost
from mmseg_dynopool.costs.cost import Alphas

_ROOM = 0.01  # by which a cost may lie above the target
_MANY = 16  # steps of a side; from here one more or less makes no difference
# Logarithms of height to width, relative to the image's own: from 1/8 to 8.
_ASPECTS = tuple(math.log(8) * n / 12 for n in range(-12, 13))

Scales = Mapping[str, tuple[float, float]]


class ImageSize(NamedTuple):
    """Sizes of a network, and what it costs there.

    Attributes:
        size: ``(H, W)`` of the resized image at the cost's shape, in pixels.
        scale: ``(scale_h, scale_w)`` that gives it.
        cost: as counted, in the cost's unit.
        inner: ``{level: (scale_h, scale_w)}`` of the levels behind the image that resize, too.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    cost: float
    inner: Scales = {}  # of a NamedTuple

    def __str__(self) -> str:
        inner = (f'{level.rpartition(".")[2]} by {height:g} x {width:g}'
                 for level, (height, width) in self.inner.items())
        return ', '.join(['{} x {}'.format(*self.size), *inner])

    @property
    def aspect(self) -> float:
        """Logarithm of height to width, relative to the image's own."""
        return math.log(self.scale[0] / self.scale[1])


class ImageSizes:
    """Finds image sizes of a wanted cost; the cost's shape is that of the whole image.

    ``count`` gives the cost at alphas, as `Cost.counted` does; ``image`` is the name of its level,
    whose sides are multiples of ``multiple`` pixels within the ``bounds`` of its scale.
    """

    def __init__(self, cost: Cost, count: Callable[[Alphas], float], image: str, multiple: int,
                 bounds: tuple[float, float] = (0.25, 4.0)):
        self.cost, self.count, self.image = cost, count, image
        self.steps = [side / multiple for side in cost.shape]  # of the whole image
        self.multiple = multiple
        self.bounds = [(max(1, math.ceil(whole * bounds[0])), max(1, math.floor(whole * bounds[1])))
                       for whole in self.steps]

    def at(self, target: float, inner: Scales | None = None,
           aspects: Sequence[float] = _ASPECTS) -> list[ImageSize]:
        """Sizes that cost no more than a target, none of them as high and as wide as another.

        From the lowest to the highest, near each of the `ImageSize.aspect`s, with inner levels at
        the scales ``inner``.

        Raises:
            ValueError: no size within the bounds costs so little, or all of them cost less.
        """
        inner = inner or {}
        (low, high), (narrow, wide) = self.bounds
        limit = target * (1 + _ROOM)
        cheapest, dearest = self._size(low, narrow, inner), self._size(high, wide, inner)
        if cheapest.cost > limit or dearest.cost < target:
            raise ValueError(
                f'{target:.4g} {self.cost.unit} are out of reach: the network costs '
                f'{cheapest.cost:.4g} with an image of {cheapest} and {dearest.cost:.4g} with '
                f'{dearest}. Choose a target in this range')
        heights = set()
        for aspect in aspects:
            scale = math.exp(aspect / 2), math.exp(-aspect / 2)
            height = self.steps[0] * scale[0] * self._factor(scale, inner, target)
            # If there are many steps, only the nearest: each takes counts.
            near = [round(height)] if height >= _MANY else [math.floor(height), math.ceil(height)]
            heights |= {min(max(low, rows), high) for rows in near}
        found: list[ImageSize] = []
        for rows in sorted(heights, reverse=True):
            best = self._widest(rows, target, limit, inner)
            if best is not None and (not found or best.size[1] > found[-1].size[1]):
                found.append(best)
        return found[::-1]

    def _widest(self, rows: int, target: float, limit: float, inner: Scales) -> ImageSize | None:
        narrow, wide = self.bounds[1]
        scale = rows / self.steps[0], 1.0
        columns = math.floor(self.steps[1] * self._factor(scale, inner, target, (0, 1)))
        columns = min(max(narrow, columns), wide)
        best = self._size(rows, columns, inner)
        while best.cost > limit:
            if columns == narrow:
                return None
            columns -= 1
            best = self._size(rows, columns, inner)
        while columns < wide and (wider := self._size(rows, columns + 1, inner)).cost <= limit:
            columns, best = columns + 1, wider
        return best

    def _size(self, rows: int, columns: int, inner: Scales) -> ImageSize:
        size = rows * self.multiple, columns * self.multiple
        scale = size[0] / self.cost.shape[0], size[1] / self.cost.shape[1]
        return ImageSize(size, scale, self.count(self._alphas(scale, inner)),
                         {name: pair for name, pair in inner.items() if pair != (1.0, 1.0)})

    def _alphas(self, scale: Sequence[float], inner: Scales) -> dict[str, list[float]]:
        return {name: [1 / s for s in pair] for name, pair in {self.image: scale, **inner}.items()}

    def _factor(self, scale: Sequence[float], inner: Scales, target: float,
                powers: tuple[int, int] = (1, 1)) -> float:
        """The factor by which a scale can grow, to the ``powers`` along its axes, by smooth costs.

        A count would take a forward pass.
        """
        low, high = 2.0 ** -8, 2.0 ** 6
        for _ in range(24):
            factor = math.sqrt(low * high)
            alphas = self._alphas([s * factor ** p for s, p in zip(scale, powers)], inner)
            with torch.no_grad():
                cost = self.cost({name: torch.tensor(alpha) for name, alpha in alphas.items()})
            low, high = (factor, high) if cost <= target else (low, factor)
        return low
