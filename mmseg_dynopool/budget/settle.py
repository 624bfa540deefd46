"""Where a budget settles: the scales whose counted cost is nearest to the target."""

import math
from collections.abc import Callable

from torch import Tensor

_ENOUGH = 0.002  # of log(cost)
_NEAR = 0.04  # of a parameter


def settle(values: Tensor, slope: Tensor, limits: tuple[Tensor, Tensor],
           count: Callable[[Tensor], float], wanted: float) -> Tensor:
    """The point whose counted cost is nearest to ``wanted``.

    First along the cost's gradient. Where the steps of the rounded sizes are too high there, as
    on small maps, each parameter on its own is then moved by a few per cent at most.

    Args:
        values: parameters of the poolings, ``(n,)``.
        slope: ``d log(cost) / d values``, ``(n,)``.
        limits: lowest and highest values, ``(n,)`` each.
        count: the counted cost, rounded sizes included, at given values.
        wanted: the target in the cost's unit.
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
    best = at(min(tried)[1])
    for index in slope.abs().argsort(descending=True).tolist():
        best = _move_one(best, index, limits, count, wanted)
    return best


def _move_one(values: Tensor, index: int, limits: tuple[Tensor, Tensor],
              count: Callable[[Tensor], float], wanted: float) -> Tensor:
    """``values``, or with one of them moved where the counted cost is nearer to ``wanted``."""

    def miss(candidate: Tensor) -> float:
        return abs(math.log(count(candidate) / wanted))

    best, least = values, miss(values)
    for part in (-_NEAR, -_NEAR / 2, _NEAR / 2, _NEAR) if least > _ENOUGH else ():
        moved = values.clone()
        moved[index] *= 1 + part
        moved = moved.clamp(*limits)
        if miss(moved) < least:
            best, least = moved, miss(moved)
    return best
