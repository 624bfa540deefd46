"""The loss's slope from two forward passes at somewhat larger and smaller sizes."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmseg_dynopool.costs.main_process import is_one_of_several
from mmseg_dynopool.layers import DynOPool
from mmseg_dynopool.ops.size import is_number

from .scales import LearnedScales, Limits


class TwoPasses:
    """A difference of two losses, which sees what the scales do to everything behind them.

    The straight-through gradient only follows the positions that one pooling reads, not how the
    kernels and the upsampling behind it take another density of cells.

    Both passes draw the same random numbers (dropout). Buffers (running statistics), random states
    and gradients are left as they were.

    Args:
        step: change of log(scale), up and down. It should move the sizes of the coarsest map. An
            image whose sizes are coarser is moved by at least one step of them.

    Raises:
        ValueError: ``step`` is out of range.

    Examples:
        >>> import numpy as np
        >>> import torch
        >>> from mmseg_dynopool.layers import DynOPool
        >>> from mmseg_dynopool.learning import LearnedScales, TwoPasses
        >>> pool, image = DynOPool(), torch.arange(256.0).reshape(1, 1, 16, 16)
        >>> scales = LearnedScales(pool)
        >>> slope = TwoPasses()(pool, lambda: pool(image).mean(), scales, scales.read(),
        ...                     np.ones(2), scales.limits(), turn=0)
        >>> round(slope, 4)  # of a mean of maxima, which grows with the cell
        11.3184
    """

    def __init__(self, step: float = 0.1):
        if not (is_number(step) and 0 < step < 1):
            raise ValueError(f'step must be between 0 and 1, e.g. 0.1, got {step!r}')
        self.step = step

    @torch.no_grad()
    def __call__(self, model: nn.Module, loss: Callable[[], Tensor | float],
                 scales: LearnedScales, values: np.ndarray, direction: np.ndarray,
                 limits: Limits, turn: int) -> float:
        """See [`SlopeEstimator`][mmseg_dynopool.learning.SlopeEstimator]."""
        centre, step = self._inside(scales, values, direction, limits)
        if step <= 0:
            return 0.0  # the bounds leave no room
        losses = []
        with undisturbed(model):
            for sign in (1, -1):
                with scales.at(centre + sign * step * direction):
                    seed_all(turn)
                    losses.append(float(loss()))
        return (losses[0] - losses[1]) / (2 * step)

    def _inside(self, scales: LearnedScales, values: np.ndarray, direction: np.ndarray,
                limits: Limits) -> tuple[np.ndarray, float]:
        """A centre near ``values`` and a step, so that both sides lie inside the limits."""
        moved = direction != 0
        room = (limits.high - limits.low)[moved].min()
        # The two sizes of an image that moves in coarse steps must not be the same.
        step = min(max(self.step, scales.coarseness[moved].max() / 2), room / 2)
        centre = values.copy()
        centre[moved] = values[moved].clip(limits.low[moved] + step, limits.high[moved] - step)
        for row, most in zip(limits.rows, limits.most):
            excess = row @ centre + step * abs(row @ direction) - most
            part = moved & (row > 0)
            if excess > 0 and part.any():
                # Back along the measured axes only.
                centre[part] -= excess / row[part].sum()
        return np.maximum(centre, np.where(moved, limits.low + step, -np.inf)), step


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Restore the buffers of a model and all random states afterwards."""
    buffers = list(model.buffers())
    before = [buffer.detach().clone() for buffer in buffers]
    states = random.getstate(), np.random.get_state()
    gpus = {p.device for p in model.parameters() if p.device.type == 'cuda'}
    try:
        with torch.random.fork_rng(list(gpus)):
            yield
    finally:
        for buffer, value in zip(buffers, before):
            buffer.copy_(value)
        random.setstate(states[0])
        np.random.set_state(states[1])


def seed_all(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def mean_over_ranks(loss: Tensor | float, device: torch.device) -> Tensor | float:
    """The mean of a loss over the processes of a distributed training."""
    if not is_one_of_several():
        return loss
    value = torch.as_tensor(loss, device=device).detach().clone()
    dist.all_reduce(value)
    return value / dist.get_world_size()


def measure_alpha_gradient(model: nn.Module, pools: Mapping[str, DynOPool],
                           loss: Callable[[], Tensor], turn: int,
                           step: float = 0.1) -> dict[str, Tensor]:
    """Version 0.3's gradient of ``loss`` by the alphas, kept for one version.

    The ``pools`` take turns; returned is ``{name: estimate (2,)}``, zeros for those whose ``turn``
    (0, 1, 2, ...) it is not. ``step`` is the change of ``log(alpha)``.
    """
    rounds, index = divmod(turn, len(pools))
    pool = list(pools.values())[index]
    scales = LearnedScales(pool)
    direction = np.array([1.0, 1 - 2 * (rounds % 2)])
    slope = TwoPasses(step)(model, loss, scales, scales.read(), direction, scales.limits(), turn)
    estimate = len(pools) * slope * torch.from_numpy(direction).to(pool.alpha) / pool.alpha.detach()
    return {name: estimate if other is pool else torch.zeros_like(other.alpha)
            for name, other in pools.items()}
