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
        """``d loss / dt`` at ``values + t * direction``, t = 0; NaN if it is unknown.

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
    """The loss's slope along one axis of one pooling: loss per log(scale), and its error."""

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
        # Of each pooling in both kinds of rounds; tied axes lack the second direction.
        self._directions = np.zeros((len(scales.parts), 2, scales.size))
        for directions, part in zip(self._directions, scales.parts.values()):
            directions[0, part] = 1
            if part.stop - part.start == 2:
                directions[1, part] = 1, -1
        self._norms = (self._directions**2).sum(2)
        self._mean, self._square, self._count = np.zeros((3, *self._norms.shape))

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
        return index, rounds % np.count_nonzero(self._norms[index])

    @property
    def direction(self) -> np.ndarray:
        """The direction ``(n,)`` along which the next slope is to be measured."""
        return self._directions[self._place]

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
        """The step of the scales ``(n,)``: against the slopes, in units of their usual size.

        Each is shrunk by the share of noise in it, 1 - noise^2 / mean^2 (James and Stein), so
        that pure noise moves nothing. The usual size is one number for all poolings, which keeps
        their relations.

        Args:
            cost_slope: the gradient of the cost's logarithm, if a projection undoes steps along it.
            added: a slope that is known exactly, such as that of a cost in the loss.
        """
        mean, variance = self._axes()
        size = self._usual_size()
        if size == 0:
            return np.zeros_like(mean)
        if cost_slope is not None and cost_slope.any():
            along = mean @ cost_slope / (cost_slope @ cost_slope)
            mean = mean - cost_slope * along
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
        """Slope of the loss per 1 % of the cost, along the cost's gradient."""
        mean, norm = self._axes()[0], np.linalg.norm(cost_slope)
        return 0.01 * float(mean @ cost_slope) / float(norm**2) if norm > 0 else 0.0

    def axes(self) -> list[Slope | None]:
        """The slope by log(scale), -log(alpha), of each number of the vector; None if unknown."""
        mean, variance = self._axes()
        return [Slope(-m, math.sqrt(v)) if math.isfinite(v) else None
                for m, v in zip(mean.tolist(), variance.tolist())]

    def _axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean slopes by log(alpha), and the variance of these means, infinite if unknown."""
        with np.errstate(divide='ignore', invalid='ignore'):
            shares = np.nan_to_num(self._directions / self._norms[..., None])
            weight = 1 - _DECAY**self._count
            mean = np.nan_to_num(self._mean / weight)
            # The sum of the squared weights of the running mean, which sum to 1.
            squared = (1 - _DECAY) * (2 - weight) / ((1 + _DECAY) * weight)
            spread = (self._square / weight - mean**2).clip(0)
            variance = np.where(self._count > 1, spread * squared / (1 - squared), np.inf)
            parts = np.where(shares != 0, variance[..., None] * shares**2, 0)
        return (mean[..., None] * shares).sum((0, 1)), parts.sum((0, 1))

    def _usual_size(self) -> float:
        """Root mean square of what one estimate tells about an axis."""
        counts = self._count.sum(1, keepdims=True)
        with np.errstate(divide='ignore', invalid='ignore'):
            squares = self._count / counts * (
                self._square / (1 - _DECAY**self._count) / self._norms**2)
        measured = np.nan_to_num(squares).sum(1)[counts[:, 0] > 0]
        return math.sqrt(measured.mean()) if len(measured) else 0.0
