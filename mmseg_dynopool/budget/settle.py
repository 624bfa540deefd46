"""Where a budget settles: the scales whose counted cost is nearest to the target."""

import math
from collections.abc import Callable

from torch import Tensor


def settle(values: Tensor, slope: Tensor, limits: tuple[Tensor, Tensor],
           count: Callable[[Tensor], float], wanted: float) -> Tensor:
    """The point on the line of the cost's gradient whose counted cost is nearest to ``wanted``.

    Args:
        values: parameters of the poolings, ``(n,)``.
        slope: ``d log(cost) / d values``, ``(n,)``.
        limits: lowest and highest values, ``(n,)`` each.
        count: counted GMACs, rounded sizes included, at given values.
        wanted: the target in GMACs.
    """
    direction = -slope / slope.norm().clamp_min(1e-12)

    def at(distance: float) -> Tensor:
        return (values + distance * direction).clamp(*limits)

    low, high = -1.0, 1.0  # the cost falls with the distance
    while count(at(low)) < wanted and low > -64:
        low *= 2
    while count(at(high)) > wanted and high < 64:
        high *= 2
    tried: list[tuple[float, float]] = []
    for _ in range(16):
        middle = (low + high) / 2
        cost = count(at(middle))
        tried.append((abs(math.log(cost / wanted)), middle))
        low, high = (middle, high) if cost > wanted else (low, middle)
    return at(min(tried)[1])
