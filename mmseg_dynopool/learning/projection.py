"""The nearest scales at which a network costs what it should."""

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize, nnls  # type: ignore[import-untyped]

from .scales import Limits

# A cost: its logarithm at v, and the gradient of that.
LogCost = Callable[[np.ndarray], tuple[float, np.ndarray]]
_STEPS, _EXACT = 60, 1e-8


def project(point: np.ndarray, log_cost: LogCost, wanted: float, limits: Limits) -> np.ndarray:
    """The nearest ``v`` to ``point`` ``(n,)`` inside the limits at which the cost is ``wanted``.

    Newton's method on the conditions of the minimum: the cost's logarithm, which is convex in
    ``v`` and nearly linear, is replaced by its tangent plane, and the nearest point on that is
    found exactly; a few rounds do. If the cost is not `reachable`, the nearest there is.
    """
    target = math.log(wanted)
    values = nearest(point, limits)
    if values is None or not len(point):
        return point
    log, slope = log_cost(values)
    must_fall, planes = log > target, limits
    for step in range(_STEPS):
        if must_fall:  # all tangent planes bound the convex set from outside
            planes = planes.and_below(slope, slope @ values - (log - target))
            found = nearest(point, planes)
        else:
            found = _on_tangent(point, values, limits, slope, log - target, -1.0)
        if found is None:
            break
        moved = np.abs(found - values).max()
        # If the rounds do not converge, halved ones do.
        values = found if must_fall or step < _STEPS // 3 else (values + found) / 2
        log, slope = log_cost(values)
        if abs(log - target) < _EXACT and moved < 1e-7:
            break
    for _ in range(20):  # remove the remaining error, along the cost's gradient
        log, slope = log_cost(values)
        error = log - target
        if abs(error) < _EXACT:
            break
        found = _on_tangent(values, values, limits, slope, error, math.copysign(1.0, error))
        if found is None:
            break
        values = found
    return values


def reachable(point: np.ndarray, log_cost: LogCost, limits: Limits) -> tuple[float, float]:
    """Lowest and highest cost inside the limits; the search begins at ``point``."""
    highest, lowest = log_cost(limits.low)[0], log_cost(limits.high)[0]
    if len(limits.rows) and (limits.rows @ limits.high > limits.most).any():
        rows = dict(type='ineq', fun=lambda v: limits.most - limits.rows @ v,
                    jac=lambda v: -limits.rows)
        start = nearest(point, limits)
        found = minimize(log_cost, point if start is None else start, jac=True, method='SLSQP',
                         bounds=list(zip(limits.low, limits.high)), constraints=[rows],
                         options=dict(ftol=1e-12, maxiter=500))
        lowest = float(found.fun)
    return math.exp(min(lowest, highest)), math.exp(max(lowest, highest))


def nearest(point: np.ndarray, limits: Limits, normal: np.ndarray | None = None,
            most: float = 0.0) -> np.ndarray | None:
    """The nearest ``x`` to ``point`` inside the limits with ``normal @ x <= most``, or None.

    By Lawson and Hanson's reduction of the least distance problem to non-negative least squares
    (Solving Least Squares Problems, chapter 23).
    """
    inside = point.clip(limits.low, limits.high)
    if (normal is None or normal @ inside <= most) and (limits.rows @ inside <= limits.most).all():
        return inside
    if normal is not None:
        limits = limits.and_below(normal, most)
    identity = np.eye(len(point))
    normals = np.concatenate([identity, -identity, limits.rows])
    bounds = np.concatenate([limits.high, -limits.low, limits.most])
    # G z >= h of z = x - point, for G = -normals.
    matrix = np.concatenate([-normals.T, [normals @ point - bounds]])
    aim = np.zeros(len(point) + 1)
    aim[-1] = 1
    residual = matrix @ nnls(matrix, aim)[0] - aim
    if -residual[-1] < 1e-10:
        return None
    return (point - residual[:-1] / residual[-1]).clip(limits.low, limits.high)


def _on_tangent(point: np.ndarray, values: np.ndarray, limits: Limits, slope: np.ndarray,
                error: float, sign: float) -> np.ndarray | None:
    """The nearest to ``point`` on the plane ``slope @ (x - values) = -error``.

    ``sign`` is positive if the cost has to fall from ``point`` to the plane. If the plane lies
    outside the limits, as it may if the cost has to rise, a nearer parallel plane counts.
    """
    if sign < 0:  # lower alphas are always allowed
        furthest = slope @ (np.where(slope < 0, limits.low, values) - values)
        error = max(error, -furthest)
    for halvings in range(12):
        aim = slope @ values - error / 2**halvings
        found = nearest(point, limits, sign * slope, sign * aim)
        if found is not None:
            return found
    return None
