"""A network's scales and cost, as the controller and the settling see them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mmseg_dynopool.layers import ResizingPool

from .step_size import step_size

# {instance: (alpha_h, alpha_w)} to a scalar, differentiable.
Cost = Callable[[Mapping[str, Tensor]], Tensor]


class Response(NamedTuple):
    """What one step of an optimizer can do about the cost.

    Attributes:
        cost: the current one, sizes not rounded.
        per_multiplier: by how much a step lowers ``log(cost)`` per unit of the multiplier.
        inertia: iterations that the optimizer's momentum averages over.
        normalized: whether the optimizer divides by the gradient's size.
        sensitivity: see `PoolParameters.sensitivity`.
    """

    cost: float
    per_multiplier: float
    inertia: float
    normalized: bool
    sensitivity: float


class PoolParameters:
    """The learned parameters of several poolings as one vector ``(n,)`` on the CPU.

    Args:
        pools: poolings that learn, by name.
    """

    def __init__(self, pools: Mapping[str, ResizingPool]):
        self.pools = dict(pools)

    def read(self) -> Tensor:
        """Their current values, in one read from the device."""
        return torch.cat([p.parameter.detach().reshape(-1) for p in self.pools.values()]).cpu()

    @torch.no_grad()
    def write_(self, values: Tensor) -> None:
        """Set them."""
        for pool, part in self._split(values):
            pool.parameter.copy_(part)

    def alphas(self, values: Tensor) -> dict[str, Tensor]:
        """``{instance: (alpha_h, alpha_w)}`` as differentiable functions of ``values``."""
        return {name: pool.alpha_of(part)
                for name, (pool, part) in zip(self.pools, self._split(values))}

    def limits(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest values, ``(n,)`` each; a frozen parameter has one value."""
        limits = []
        for pool, value in self._split(self.read()):
            bounds = pool.parameter_bounds if pool.parameter.requires_grad else (value, value)
            limits.append([(torch.ones_like(value) * bound).reshape(-1) for bound in bounds])
        low, high = map(torch.cat, zip(*limits))
        return low, high

    def slope(self, cost: Cost) -> tuple[float, Tensor]:
        """The cost, and the gradient of its logarithm by the values, ``(n,)``, in double."""
        values = self.read().double().requires_grad_()
        now = cost(self.alphas(values))
        slope, = torch.autograd.grad(now.log(), values)
        return now.item(), slope

    def sensitivity(self, cost: Cost) -> float:
        """By how much ``log(cost)`` falls, per unit of the multiplier and of all step sizes."""
        return _sensitivity(*self.slope(cost))

    def reachable(self, cost: Cost) -> tuple[float, float]:
        """Lowest and highest cost that the bounds allow."""
        costs = [cost(self.alphas(values)).item() for values in self.limits()]
        return min(costs), max(costs)

    def response(self, cost: Cost, wanted: float, optimizer: torch.optim.Optimizer
                 ) -> Response:
        """What the optimizer's next step can do about the cost.

        Args:
            cost: the cost as a function of the alphas.
            wanted: the target in the cost's unit.
            optimizer: it holds the parameters that learn.
        """
        now, slope = self.slope(cost)
        sensitivity = _sensitivity(now, slope)
        values, (low, high) = self.read(), self.limits()
        # A parameter that stands at a bound answers only to a push away from it.
        must_fall = slope < 0 if now < wanted else slope > 0
        slope = slope * torch.where(must_fall, values > low, values < high)
        steps = [step_size(optimizer, pool.parameter) for pool in self.pools.values()]
        distance = torch.cat([slope.new_full((pool.parameter.numel(), ), step.distance)
                              for pool, step in zip(self.pools.values(), steps)])
        return Response(now, now * (slope.square() * distance).sum().item(),
                        max(s.inertia for s in steps), any(s.normalized for s in steps),
                        sensitivity)

    def _split(self, values: Tensor) -> list[tuple[ResizingPool, Tensor]]:
        parts = values.split([pool.parameter.numel() for pool in self.pools.values()])
        return [(pool, part.view_as(pool.parameter))
                for pool, part in zip(self.pools.values(), parts)]


def _sensitivity(cost: float, slope: Tensor) -> float:
    return cost * slope.square().sum().item()
