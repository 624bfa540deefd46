"""How far an optimizer moves a parameter per unit of its gradient."""

from typing import NamedTuple

import torch
from torch import Tensor


class StepSize(NamedTuple):
    """How an optimizer moves a parameter.

    Attributes:
        distance: per iteration and unit of a lasting gradient.
        inertia: iterations that momentum averages over.
        normalized: whether the gradient is divided by its own size.
    """

    distance: float
    inertia: float
    normalized: bool


def step_size(optimizer: torch.optim.Optimizer, parameter: Tensor) -> StepSize:
    """How an optimizer moves one of its parameters.

    Args:
        optimizer: the optimizer. Adam and its kin move nothing before their first step, which a
            loss scale may have skipped.
        parameter: one of its parameters. One that is frozen does not move.

    Raises:
        ValueError: the parameter learns and is not in the optimizer.
    """
    if not parameter.requires_grad:
        return StepSize(0.0, 1.0, False)
    for group in optimizer.param_groups:
        if any(p is parameter for p in group['params']):
            break
    else:
        raise ValueError('the optimizer does not hold this parameter')
    state = optimizer.state.get(parameter, {})
    size = group['lr']
    if 'exp_avg_sq' in state:  # Adam and its kin divide by the gradient's size
        beta, beta_square = group['betas']
        square = state['exp_avg_sq'].float().mean() / (1 - beta_square**float(state['step']))
        return StepSize(size / (square.sqrt().item() + 1e-12), 1 / (1 - beta), True)
    if 'betas' in group and not state:
        return StepSize(0.0, 1 / (1 - group['betas'][0]), True)
    momentum = group.get('momentum', 0.0)
    return StepSize(size / (1 - momentum), 1 / (1 - momentum), False)
