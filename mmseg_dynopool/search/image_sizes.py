"""The sizes of an image at which a network costs what it may."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

from mmseg_dynopool.costs import Cost
from mmseg_dynopool.costs.cost import Alphas

_ROOM = 0.01  # by which a cost may lie above the target
_MANY = 16  # steps of a side, of which one more or less makes no difference
# Logarithms of height to width, relative to the image's own: from 1/8 to 8.
_ASPECTS = tuple(math.log(8) * n / 12 for n in range(-12, 13))


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
    inner: Mapping[str, tuple[float, float]] = {}  # of a NamedTuple

    def __str__(self) -> str:
        inner = (f'{level.rpartition(".")[2]} by {height:g} x {width:g}'
                 for level, (height, width) in self.inner.items())
        return ', '.join(['{} x {}'.format(*self.size), *inner])

    @property
    def aspect(self) -> float:
        """Logarithm of height to width, relative to the image's own."""
        return math.log(self.scale[0] / self.scale[1])


class ImageSizes:
    """Sizes of an image at a cost.

    Args:
        cost: of the network; its shape is that of the whole image.
        count: of the cost at alphas, `Cost.counted`.
        image: name of the image's level.
        multiple: of pixels, both sides.
        bounds: lowest and highest scale.
        room: share by which a cost may lie above the target.
    """

    def __init__(self, cost: Cost, count: Callable[[Alphas], float], image: str, multiple: int,
                 bounds: tuple[float, float] = (0.25, 4.0), room: float = _ROOM):
        self.cost, self.count, self.image, self.multiple = cost, count, image, multiple
        self.room = room
        self.bounds = [(max(1, math.ceil(whole * bounds[0] / multiple)),
                        max(1, math.floor(whole * bounds[1] / multiple))) for whole in cost.shape]

    def at(self, target: float, inner: Mapping[str, tuple[float, float]] | None = None,
           aspects: Sequence[float] = _ASPECTS) -> list[ImageSize]:
        """Sizes that cost no more than a target, of which no other is as high and as wide.

        Args:
            target: in the cost's unit.
            inner: ``{level: (scale_h, scale_w)}``; the other levels stay as they are.
            aspects: see `ImageSize.aspect`; for each the heights next to it are looked at.

        Returns:
            From the lowest to the highest.

        Raises:
            ValueError: no size within the bounds costs so little, or all of them cost less.
        """
        inner = inner or {}
        (low, high), (narrow, wide) = self.bounds
        cheapest, dearest = self._size((low, narrow), inner), self._size((high, wide), inner)
        if not self._is_paid(cheapest, target) or dearest.cost < target:
            raise ValueError(
                f'{target:.4g} {self.cost.unit} are out of reach: the network costs '
                f'{cheapest.cost:.4g} with an image of {cheapest} and {dearest.cost:.4g} with '
                f'{dearest}. Choose a target in this range')
        heights = sorted({min(max(low, rounded), high)
                          for height in self._heights(target, inner, aspects)
                          for rounded in _next_to(height)}, reverse=True)
        found: list[ImageSize] = []
        for rows in heights:
            best = self._widest(rows, target, inner)
            if best is not None and (not found or best.size[1] > found[-1].size[1]):
                found.append(best)
        return found[::-1]

    def _size(self, steps: tuple[int, int], inner: Mapping[str, tuple[float, float]]) -> ImageSize:
        height, width = (n * self.multiple for n in steps)
        scale = height / self.cost.shape[0], width / self.cost.shape[1]
        return ImageSize((height, width), scale, self.count(self._alphas(scale, inner)),
                         {name: pair for name, pair in inner.items() if pair != (1.0, 1.0)})

    def _is_paid(self, size: ImageSize, target: float) -> bool:
        return size.cost <= target * (1 + self.room)

    def _alphas(self, scale: Sequence[float], inner: Mapping[str, tuple[float, float]]
                ) -> dict[str, list[float]]:
        return {name: [1 / s for s in pair] for name, pair in {self.image: scale, **inner}.items()}

    def _factor(self, scale: Sequence[float], inner: Mapping[str, tuple[float, float]],
                target: float, powers: tuple[int, int] = (1, 1)) -> float:
        """By how much a scale can grow, by powers along its axes, without rounding.

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

    def _heights(self, target: float, inner: Mapping[str, tuple[float, float]],
                 aspects: Sequence[float]) -> list[float]:
        """In multiples, whether inside the bounds or not."""
        scales = [(math.exp(aspect / 2), math.exp(-aspect / 2)) for aspect in aspects]
        return [scale[0] * self._factor(scale, inner, target) * self.cost.shape[0] / self.multiple
                for scale in scales]

    def _widest(self, rows: int, target: float, inner: Mapping[str, tuple[float, float]]
                ) -> ImageSize | None:
        narrow, wide = self.bounds[1]
        height = rows * self.multiple / self.cost.shape[0]
        columns = self.cost.shape[1] / self.multiple * self._factor(
            (height, 1.0), inner, target, (0, 1))
        columns = min(max(narrow, math.floor(columns)), wide)
        best = self._size((rows, columns), inner)
        while not self._is_paid(best, target):
            if columns == narrow:
                return None
            columns -= 1
            best = self._size((rows, columns), inner)
        while columns < wide and self._is_paid(
                wider := self._size((rows, columns + 1), inner), target):
            columns, best = columns + 1, wider
        return best


def _next_to(height: float) -> set[int]:
    """Whole numbers next to a height; of a large one the nearest alone: each takes counts."""
    return {round(height)} if height >= _MANY else {math.floor(height), math.ceil(height)}
