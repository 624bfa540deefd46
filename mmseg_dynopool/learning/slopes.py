"""What an estimator of the loss's slope is, and what becomes of its estimates."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from .scales import LearnedScales, Limits

_DECAY = 0.9


class SlopeEstimator(Protocol):
    """Estimates the slope of a loss along a direction of the scales.

    [`TwoPasses`][mmseg_dynopool.learning.TwoPasses] is one; a learner takes any.

    Examples:
        >>> from mmseg_dynopool.layers import DynOPool
        >>> from mmseg_dynopool.learning import ScaleLearner
        >>> def up(model, loss, scales, values, direction, limits, turn):
        ...     return -direction.sum()  # as if the loss fell with each alpha
        >>> learner = ScaleLearner(DynOPool(), steps=100, estimator=up)
    """

    def __call__(self, model: nn.Module, loss: Callable[[], Tensor | float],
                 scales: LearnedScales, values: np.ndarray, direction: np.ndarray,
                 limits: Limits, turn: int) -> float:
        """``d loss / dt`` at ``values + t * direction``, t = 0; NaN where it cannot be told.

        Args:
            model: the network.
            loss: runs it at its current scales, see `LearnedScales.at`, and returns the loss.
            scales: its scales.
            values: the current ones ``(n,)``, in log(alpha).
            direction: ``(n,)`` of -1, 0 and 1.
            limits: where the scales may lie.
            turn: number of the estimate.
        """


class Slope(NamedTuple):
    """What is known of the loss's slope along one axis of one pooling.

    Attributes:
        mean: running mean, loss per log(scale).
        noise: its standard error.
    """

    mean: float
    noise: float


class SlopeMeans:
    """Running means of slopes, and what is noise in them.

    The poolings take turns, so that those of little effect are free of the noise of the others.
    Both axes of one are changed at once, alike in one round of turns and against each other in the
    next (SPSA: Spall, IEEE Trans. Automatic Control 37, 1992). A pooling of tied axes has one
    direction.

    Args:
        scales: the scales that learn.
        shrink: keep of each mean only the share that is not noise.
    """

    def __init__(self, scales: LearnedScales, shrink: bool = True):
        self.shrink = shrink
        self.turn = 0
        self._directions: list[list[np.ndarray]] = []
        for part in scales.parts.values():
            pair = [[1.0, 1.0], [1.0, -1.0]] if part.stop - part.start == 2 else [[1.0]]
            self._directions.append([np.zeros(scales.size) for _ in pair])
            for direction, values in zip(self._directions[-1], pair):
                direction[part] = values
        shape = len(self._directions), 2
        self._mean, self._square, self._count = np.zeros((3, *shape))

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return dict(turn=self.turn, mean=self._mean.tolist(), square=self._square.tolist(),
                    count=self._count.tolist())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.turn = state['turn']
        self._mean, self._square, self._count = np.array(
            [state[key] for key in ('mean', 'square', 'count')]).reshape(3, -1, 2)

    @property
    def _place(self) -> tuple[int, int]:
        rounds, index = divmod(self.turn, len(self._directions))
        return index, rounds % len(self._directions[index])

    @property
    def direction(self) -> np.ndarray:
        """Along which the next slope is to be measured, ``(n,)``."""
        index, which = self._place
        return self._directions[index][which]

    def add(self, slope: float) -> bool:
        """Take the slope along `direction`, and go on to the next; False if it is not finite."""
        place = self._place
        self.turn += 1
        if not math.isfinite(slope):
            return False
        self._mean[place] = _DECAY * self._mean[place] + (1 - _DECAY) * slope
        self._square[place] = _DECAY * self._square[place] + (1 - _DECAY) * slope**2
        self._count[place] += 1
        return True

    def step(self, cost_slope: np.ndarray | None = None, added: np.ndarray | None = None
             ) -> np.ndarray:
        """Where the scales are to go, ``(n,)``: against the slopes, in units of their usual size.

        Each is shrunk by the share of noise in it, 1 - noise^2 / mean^2 (James and Stein), so
        that pure noise moves nothing. The usual size is one number for all poolings, which keeps
        their relations: the root of the mean square of what one estimate tells of an axis.

        Args:
            cost_slope: the gradient of the cost's logarithm, where a projection takes what lies
                along it.
            added: a slope that is known exactly, such as that of a cost in the loss.
        """
        mean, variance = self._axes()
        size = self._usual_size()
        if size == 0:
            return np.zeros_like(mean)
        if cost_slope is not None:
            mean = mean - _along(mean, cost_slope)
        if self.shrink:
            with np.errstate(divide='ignore', invalid='ignore'):
                kept = 1 - variance / mean**2
            mean = mean * np.nan_to_num(kept, nan=0.0, posinf=0.0, neginf=0.0).clip(0)
        else:
            mean = np.where(np.isfinite(variance), mean, 0.0)
        if added is not None:
            mean = mean + added
        return -mean / size

    def per_percent(self, cost_slope: np.ndarray) -> float:
        """Slope of the loss per one per cent of the cost, along the cost's gradient."""
        mean, norm = self._axes()[0], np.linalg.norm(cost_slope)
        return 0.01 * float(mean @ cost_slope) / float(norm**2) if norm > 0 else 0.0

    def axes(self) -> list[Slope | None]:
        """Of each number of the vector, by log(scale), which is -log(alpha); None if unknown."""
        mean, variance = self._axes()
        return [Slope(-m, math.sqrt(v)) if math.isfinite(v) else None
                for m, v in zip(mean.tolist(), variance.tolist())]

    def _axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean slopes by log(alpha), and the variance of these means, infinite if unknown."""
        size = len(self._directions[0][0]) if self._directions else 0
        means, variances = np.zeros(size), np.zeros(size)
        for index, directions in enumerate(self._directions):
            for which, direction in enumerate(directions):
                share = direction / (direction @ direction)
                count, variance = self._count[index, which], math.inf
                if count:
                    weight = 1 - _DECAY**count
                    mean = self._mean[index, which] / weight
                    means += mean * share
                    if count > 1:
                        # The sum of the squared weights of the running mean, which sum to 1.
                        squared = (1 - _DECAY) * (2 - weight) / ((1 + _DECAY) * weight)
                        spread = max(0.0, self._square[index, which] / weight - mean**2)
                        variance = spread * squared / (1 - squared)
                axes = share != 0
                variances[axes] += variance * share[axes]**2
        return means, variances

    def _usual_size(self) -> float:
        """Root of the mean square of what one estimate tells of an axis."""
        squares = []
        for index, directions in enumerate(self._directions):
            count, square = self._count[index].sum(), 0.0
            for which, direction in enumerate(directions):
                number = self._count[index, which]
                if number:
                    square += number / count * (self._square[index, which]
                                                / (1 - _DECAY**number)
                                                / (direction @ direction)**2)
            if count:
                squares.append(square)
        return math.sqrt(sum(squares) / len(squares)) if squares else 0.0


def _along(vector: np.ndarray, direction: np.ndarray) -> np.ndarray:
    square = direction @ direction
    return direction * (vector @ direction / square) if square > 0 else 0 * vector
