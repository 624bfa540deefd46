"""An exact compute budget: the multiplier of the cost is adapted while the network trains.

The paper steers the cost through a fixed lambda and names as its first limitation that the exact
target cannot be chosen. Here lambda is the Lagrange multiplier of "GMACs = target", moved by a
proportional-integral controller. Its gains follow from the optimizer's step size and the slope
of the cost, both known, so that they need no tuning by data set.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

_OPTIONS = ('target', 'target_gmacs', 'begin', 'reach', 'settle')


class GMACsBudget(nn.Module):
    """Controller of the cost's multiplier. Its state is in buffers, so that it resumes exactly.

    1. Until ``begin`` (a share of the training) the multiplier is 0: the task speaks alone.
    2. Until ``reach`` the wanted cost runs from the present one to the target, then stays.
    3. At ``settle`` the alphas are moved along the cost's gradient to where the counted cost,
       rounded sizes included, is nearest to the target, and stay there while the weights go on.

    Args:
        target: wanted cost relative to the start, e.g. 0.6; or
        target_gmacs: wanted cost in 1e9 multiply-adds at the training crop.
        begin, reach, settle: shares of the training, ``0 <= begin < reach < settle < 1``.
        pools: number of DynOPool instances.

    Attributes:
        multiplier: lambda of the moment, per 1e9 multiply-adds; negative while the cost is
            below the target.

    Raises:
        ValueError: an option is malformed.
    """

    def __init__(self, pools: int, target: float | None = None,
                 target_gmacs: float | None = None, begin: float = 0.1, reach: float = 0.5,
                 settle: float = 0.85):
        super().__init__()
        if (target is None) == (target_gmacs is None):
            raise ValueError('gmacs_budget takes either target (ratio to the start) or '
                             f'target_gmacs, got target={target!r}, '
                             f'target_gmacs={target_gmacs!r}')
        for name, value in (('target', target), ('target_gmacs', target_gmacs)):
            if value is not None and not (_is_number(value) and value > 0):
                raise ValueError(f'gmacs_budget {name} must be a positive number, got {value!r}')
        if not all(map(_is_number, (begin, reach, settle))) or not 0 <= begin < reach < settle < 1:
            raise ValueError('gmacs_budget needs 0 <= begin < reach < settle < 1, got '
                             f'{begin!r}, {reach!r}, {settle!r}')
        self.target, self.target_gmacs = target, target_gmacs
        self.begin, self.reach, self.settle = begin, reach, settle
        for name in ('multiplier', 'integral', 'start_cost'):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        self.register_buffer('settled', torch.zeros((), dtype=torch.bool))
        self.register_buffer('settled_alphas', torch.zeros(pools, 2))

    @classmethod
    def from_options(cls, options: dict, pools: int) -> 'GMACsBudget':
        """Make the controller of a config's ``gmacs_budget=dict(...)``."""
        if not isinstance(options, dict):
            raise ValueError('gmacs_budget must be a dict such as dict(target=0.6), got '
                             f'{options!r}')
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise ValueError(f'unknown gmacs_budget options {unknown}; there are '
                             f'{list(_OPTIONS)}')
        return cls(pools, **options)

    def reset(self) -> None:
        """Forget what was loaded from another run's checkpoint."""
        for buffer in self.buffers():
            buffer.zero_()

    def wanted_gmacs(self, initial_gmacs: float) -> float:
        """The target in GMACs."""
        return self.target_gmacs or self.target * initial_gmacs

    def check_reachable(self, initial_gmacs: float, low: float, high: float) -> None:
        """Refuse a target outside of what the bounds of the scales allow.

        Raises:
            ValueError: with the reachable range.
        """
        wanted = self.wanted_gmacs(initial_gmacs)
        if not low <= wanted <= high:
            raise ValueError(
                f'gmacs_budget of {wanted:.4g} GMACs (ratio {wanted / initial_gmacs:.3f}) is out '
                f'of reach: the bounds of the scales allow {low:.4g} to {high:.4g} GMACs (ratio '
                f'{low / initial_gmacs:.3f} to {high / initial_gmacs:.3f}). Choose a target in '
                'this range, widen the bounds, or let the stem learn (dynopool.stem=True)')

    def step(self, progress: float, iterations: int, cost: float, initial_gmacs: float,
             response: float, inertia: float, normalized: bool = False) -> None:
        """Adapt the multiplier after one training step.

        Args:
            progress: share of the training that is done.
            iterations: length of the training.
            cost: GMACs at the present scales, without rounding.
            initial_gmacs: GMACs at the start.
            response: by how much one step lowers ``log(cost)`` per unit of the multiplier.
            inertia: iterations that the optimizer's momentum averages over.
            normalized: whether the optimizer divides by the gradient's size. Then a lasting
                force has no lasting size, and the integral is left out.
        """
        if progress < self.begin or response <= 0:
            return
        if self.start_cost == 0:
            self.start_cost.fill_(cost)
        start = math.log(self.start_cost.item())
        way = math.log(self.wanted_gmacs(initial_gmacs)) - start
        share = (progress - self.begin) / (self.reach - self.begin)
        speed = way / ((self.reach - self.begin) * iterations) if share < 1 else 0.0
        error = max(-1.0, min(1.0, math.log(cost) - start - way * min(1.0, share)))
        # Closed loop: the error decays over this many iterations. Slower than the momentum
        # answers, else the loop would ring.
        constant = max(0.02 * iterations, 3 * inertia, 2.0)
        proportional = error / (constant * response)
        if not normalized:
            self.integral += proportional / (4 * constant)
        # What moves the cost at the wanted speed needs no error; the integral then learns the
        # task's own force alone.
        self.multiplier.copy_(self.integral + proportional - speed / response)

    def settle_alphas(self, alphas: Tensor, slope: Tensor, limits: tuple[Tensor, Tensor],
                      count: Callable[[Tensor], float], wanted: float) -> Tensor:
        """Find the alphas on the line of the cost's gradient whose counted cost is nearest.

        Args:
            alphas: ``(pools, 2)``.
            slope: ``d log(cost) / d alpha`` of that shape, at most 0.
            limits: lowest and highest alphas.
            count: counted GMACs at given alphas.
            wanted: the target in GMACs.
        """
        direction = -slope / slope.norm().clamp_min(1e-12)

        def at(distance):
            return (alphas + distance * direction).clamp(*limits)

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
        self.settled_alphas.copy_(best)
        self.settled.fill_(True)
        self.multiplier.zero_()  # nothing is left to steer
        return best


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(
        value)


class StepSize(NamedTuple):
    """How an optimizer moves a parameter."""

    distance: float  # per iteration and unit of a lasting gradient
    inertia: float  # iterations that momentum averages over
    normalized: bool  # whether the gradient is divided by its own size


def step_size(optimizer: torch.optim.Optimizer, parameter: Tensor) -> StepSize:
    """How an optimizer moves one of its parameters.

    Args:
        optimizer: the optimizer. Adam and its kin move nothing before their first step, which a
            loss scale may have skipped.
        parameter: one of its parameters.

    Raises:
        ValueError: the parameter is not in the optimizer.
    """
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
