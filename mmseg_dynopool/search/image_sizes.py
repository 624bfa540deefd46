"""The sizes of an image at which a network costs what it may."""

import math
from collections.abc import Callable
from typing import NamedTuple

from mmseg_dynopool.costs import Cost
from mmseg_dynopool.costs.cost import Alphas

_ROOM = 0.01  # by which a cost may lie above the target


class ImageSize(NamedTuple):
    """A size of the image, and what the network costs there.

    Attributes:
        size: ``(H, W)`` of the resized image at the cost's shape, in pixels.
        scale: ``(scale_h, scale_w)`` that gives it.
        cost: as counted, in the cost's unit.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    cost: float


def image_sizes(count: Callable[[Alphas], float], image: str, cost: Cost, target: float,
                multiple: int, bounds: tuple[float, float] = (0.25, 4.0), room: float = _ROOM
                ) -> list[ImageSize]:
    """Each height with the largest width at which the network costs no more than the target.

    Args:
        count: of the cost at alphas, `Cost.counted`.
        image: name of the image's level.
        cost: of the network; its shape is that of the whole image.
        target: in the cost's unit.
        multiple: of pixels, both sides.
        bounds: lowest and highest scale.
        room: share by which a cost may lie above the target.

    Returns:
        Those of which no other is as high and as wide, from the lowest to the highest.

    Raises:
        ValueError: no size within the bounds costs so little, or all of them cost less.
    """
    height, width = cost.shape

    def at(size: tuple[int, int]) -> ImageSize:
        scale = size[0] / height, size[1] / width
        return ImageSize(size, scale, count({image: [1 / s for s in scale]}))

    def sides(whole: int) -> list[int]:
        low, high = (max(1, math.ceil(whole * bounds[0] / multiple)),
                     max(1, math.floor(whole * bounds[1] / multiple)))
        return [n * multiple for n in range(low, high + 1)]

    heights, widths = sides(height), sides(width)
    cheapest, dearest = at((heights[0], widths[0])), at((heights[-1], widths[-1]))
    if not cheapest.cost <= target * (1 + room) or dearest.cost < target:
        raise ValueError(
            f'{target:.4g} {cost.unit} are out of reach: the network costs {cheapest.cost:.4g} '
            f'with an image of {cheapest.size[0]} x {cheapest.size[1]} and {dearest.cost:.4g} with '
            f'{dearest.size[0]} x {dearest.size[1]}. Choose a target in this range')
    found: list[ImageSize] = []
    for side in reversed(heights):
        low, high = -1, len(widths)  # of widths that it can and cannot pay for
        best = None
        while high - low > 1:
            middle = (low + high) // 2
            tried = at((side, widths[middle]))
            if tried.cost <= target * (1 + room):
                low, best = middle, tried
            else:
                high = middle
        if best is not None and (not found or best.size[1] > found[-1].size[1]):
            found.append(best)
    return found[::-1]
