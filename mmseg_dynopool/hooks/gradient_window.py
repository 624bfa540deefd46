"""Is a shape still learning? Mean and noise of alpha's gradient between two lines of the log."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch
from torch import Tensor
from torch.optim import Optimizer

from .optimizers import loss_scale


@dataclass(frozen=True)
class GradientNoise:
    """Statistics of one number's gradient over the optimizer's steps of a window.

    Attributes:
        mean: mean over the steps.
        std: sample standard deviation (divided by n - 1).
        snr: signal-to-noise ratio ``|mean| / std``; None where ``std`` is 0.
    """

    mean: float
    std: float
    snr: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> 'GradientNoise | None':
        """Of the finite ones among ``values``; None of less than two."""
        values = [value for value in values if math.isfinite(value)]
        if len(values) < 2:
            return None
        mean, std = fmean(values), stdev(values)
        return cls(mean, std, abs(mean) / std if std > 0 else None)


class GradientWindow:
    """Keeps the gradients with which an optimizer steps, on their device, until they are read.

    They are noted by a hook of the optimizer right before its step: there gradients are
    accumulated over the micro-batches, averaged over the ranks (DDP), free of the loss scale and
    clipped, and a step that a loss scaler skips does not count. Nothing is attached to the
    parameters, so models are copied and pickled as before.

    Args:
        optimizer: the one that steps.
        alphas: parameters on one device; of those that are not of shape ``(2,)``, such as a
            ShapeAdaptor's logit, the gradient counts as unknown.
    """

    def __init__(self, optimizer: Optimizer, alphas: Sequence[Tensor]):
        self._alphas = list(alphas)
        self._rows: list[Tensor] = []
        self._handle = optimizer.register_step_pre_hook(self._note)

    def __len__(self) -> int:
        """Number of steps noted."""
        return len(self._rows)

    def stack(self) -> Tensor:
        """The noted gradients, ``(steps, alphas, 2)``, NaN where there was none; no device read."""
        return torch.stack(self._rows)

    def clear(self) -> None:
        """Begin a new window."""
        self._rows.clear()

    def remove(self) -> None:
        """Take the hook off the optimizer."""
        self._handle.remove()

    def _note(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        row = torch.stack([_gradient(alpha) for alpha in self._alphas])
        self._rows.append(row / loss_scale(optimizer))


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.shape == (2, ) and parameter.grad is not None:
        return parameter.grad.detach()
    return parameter.detach().new_full((2, ), math.nan)
