"""What version 0.3 measured alpha's gradient with; for one version."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from mmseg_dynopool.layers import DynOPool

from .scales import LearnedScales
from .two_passes import TwoPasses


def measure_alpha_gradient(model: nn.Module, pools: Mapping[str, DynOPool],
                           loss: Callable[[], Tensor], turn: int,
                           step: float = 0.1) -> dict[str, Tensor]:
    """An estimate of the gradient of ``loss`` by the alphas, by `TwoPasses`.

    See [`ScaleLearner`][mmseg_dynopool.learning.ScaleLearner], which makes more of it.

    Args:
        model: the network.
        pools: those to measure, by name; they take turns.
        loss: runs the network and returns the loss, a scalar.
        turn: number of the estimate: 0, 1, 2, ...
        step: by how much ``log(alpha)`` is changed, up and down.

    Returns:
        ``{name: estimate of shape (2,)}``, zeros for those whose turn it is not.
    """
    rounds, index = divmod(turn, len(pools))
    pool = list(pools.values())[index]
    scales = LearnedScales(pool)
    direction = np.array([1.0, 1 - 2 * (rounds % 2)])
    slope = TwoPasses(step)(model, loss, scales, scales.read(), direction, scales.limits(), turn)
    estimate = len(pools) * slope * torch.from_numpy(direction).to(pool.alpha) / pool.alpha.detach()
    return {name: estimate if other is pool else torch.zeros_like(other.alpha)
            for name, other in pools.items()}
