"""The paper's way: a cost in the loss, whose gradient is added to that of the alphas."""

from collections.abc import Container
from typing import Any

import torch
from torch import Tensor, nn

from mmseg_dynopool.costs import Cost
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.layers.find import all_pools

PAPER_WEIGHT = 7e-5  # supplement, section 1.2


def cost_of(model: nn.Module, cost: Cost) -> Tensor:
    """The cost at a network's current alphas, sizes not rounded; differentiable in them.

    Constants count, too: a pooling may have been frozen since the cost was probed.
    """
    device = next(model.parameters()).device
    return cost({name: _whole(pool.bounded_alpha()).to(device)
                 for name, pool in all_pools(model).items()})


def add_cost_gradient(model: nn.Module, cost: Cost, weight: float = PAPER_WEIGHT,
                      loss_scale: Tensor | float = 1,
                      only: Container[int] | None = None) -> Tensor:
    """Add the gradient of ``weight * cost`` to that of the alphas (main paper, complexity term).

    Call it between the backward pass and the optimizer's step, after any clipping. It does the same
    as adding the cost to the loss.

    Args:
        model: the network.
        cost: its cost, made before FSDP2 shards the network.
        weight: lambda, per unit of the cost.
        loss_scale: the factor by which the gradients are multiplied (mixed precision).
        only: ``id`` of the parameters that get it, if several optimizers hold them.

    Returns:
        ``weight * cost``, a scalar, to log.

    Examples:
        >>> from torch import nn
        >>> from mmseg_dynopool.costs import probe_complexity
        >>> from mmseg_dynopool.layers import DynOPool
        >>> from mmseg_dynopool.learning import add_cost_gradient
        >>> model = nn.Sequential(DynOPool(0.5), nn.Conv2d(3, 8, 3, padding=1))
        >>> cost = probe_complexity(model, (512, 1024))
        >>> loss = add_cost_gradient(model, cost, weight=1.0)  # after loss.backward()
        >>> bool(model[0].alpha.grad.lt(0).all())  # larger alphas cost less
        True
    """
    parameters = [pool.parameter for pool in learned_pools(model).values()
                  if pool.parameter.requires_grad and (only is None or id(pool.parameter) in only)]
    with torch.enable_grad():
        loss = weight * cost_of(model, cost)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True
                                        ) if parameters else ()
    for parameter, gradient in zip(parameters, gradients):
        gradient = loss_scale * gradient
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    return loss.detach()


def _whole(alpha: Any) -> Tensor:
    """An alpha, gathered if FSDP2 has sharded it."""
    return alpha.full_tensor() if hasattr(alpha, 'full_tensor') else alpha
