"""Keeps the scales where a network costs what its budget says."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from mmseg_dynopool.costs import Cost
from mmseg_dynopool.costs.budget import Outcome, check_phases
from mmseg_dynopool.costs.cost import LearnedMap
from mmseg_dynopool.layers.find import all_pools
from mmseg_dynopool.ops.size import is_number

from .projection import project, reachable
from .scales import LearnedScales

_ENOUGH = 0.002  # of log(cost), as counted
_MEASURED_ENOUGH = 0.01  # as measured
_CORRECTIONS = 2
_NEAR = 0.04  # of one alpha
_TRIALS, _FAR = 60, 0.1  # of all of them, in log(alpha)


@dataclass(frozen=True)
class Plan:
    """The cost from ``start`` to ``target``, and the phases of a `Budget`."""

    start: float
    target: float
    begin: float = 0.1
    reach: float = 0.5
    settle: float = 0.85

    def wanted(self, progress: float) -> float:
        """The cost after a share ``progress`` of the training; its logarithm is linear."""
        ramp = min(1.0, max(0.0, (progress - self.begin) / (self.reach - self.begin)))
        return math.exp((1 - ramp) * math.log(self.start) + ramp * math.log(self.target))


class BudgetKeeper:
    """Projects the scales onto a plan of the cost, and settles them at its end.

    A learner has one; a loop whose optimizer moves the alphas calls it after each step. ``begin``,
    ``reach`` and ``settle`` are the phases of a [`Budget`][mmseg_dynopool.costs.Budget].

    Args:
        scales: the scales that learn.
        cost: the network's cost.
        target: wanted cost, in its unit.
        smallest: cells that each height and width of a learned map keeps at least.
        maps: the learned maps; default: those of ``cost``.

    Attributes:
        plan: the wanted cost at each moment, from the cost of the current scales on.
        limits: where the scales may lie.
        settled: where they settled, ``(n,)`` in log(alpha); None before.
        counted: the cost there, rounded sizes included; None before.
        measured: the same as measured; None where a count is the truth.

    Raises:
        ValueError: the target is out of reach.

    Examples:
        >>> from torch import nn
        >>> from mmseg_dynopool.costs import probe_complexity
        >>> from mmseg_dynopool.layers import DynOPool
        >>> from mmseg_dynopool.learning import BudgetKeeper, LearnedScales
        >>> model = nn.Sequential(DynOPool(0.5), nn.Conv2d(3, 8, 3, padding=1))
        >>> scales, cost = LearnedScales(model), probe_complexity(model, (512, 1024))
        >>> keeper = BudgetKeeper(scales, cost, target=0.5 * cost.initial)
        >>> values = keeper.keep(model, scales.read(), progress=0.5)  # after an optimizer's step
        >>> scales.write_(values)
        >>> model[0].scale
        tensor([0.3536, 0.3536])
    """

    def __init__(self, scales: LearnedScales, cost: Cost, target: float, smallest: int = 1,
                 maps: Sequence[LearnedMap] | None = None, begin: float = 0.1,
                 reach: float = 0.5, settle: float = 0.85):
        check_phases(begin, reach, settle)
        if not (is_number(target) and target > 0):
            raise ValueError(f'target must be a positive number, got {target!r}')
        if not scales.parts:
            raise ValueError('no scale can move: all DynOPools are frozen, or their bounds equal')
        self.scales = scales
        self.cost = cost
        self.smallest = smallest
        self.maps = cost.maps() if maps is None else maps
        self.plan = Plan(1.0, target, begin, reach, settle)
        self.settled: np.ndarray | None = None
        self.counted: float | None = None
        self.measured: float | None = None
        self._begin_at(scales.read())
        low, high = self.reachable()
        if not low * (1 - 1e-6) <= target <= high * (1 + 1e-6):
            sizes = (', with maps that keep as many cells as `smallest` says'
                     if len(self.limits.rows) else '')
            raise ValueError(
                f'{cost.name}_budget of {target:.4g} {cost.unit} (ratio '
                f'{target / cost.initial:.3f}) is out of reach: the bounds of the scales allow '
                f'{low:.4g} to {high:.4g} {cost.unit} (ratio {low / cost.initial:.3f} to '
                f'{high / cost.initial:.3f}){sizes}. Choose a target in this range, widen the '
                "bounds, or let an HRNet's stem learn, too (backbone.dynopool.stem=True)")

    def _begin_at(self, start: np.ndarray, cost: float | None = None) -> None:
        """Begin the plan at the scales ``start``, ``(n,)``; ``cost`` is a start cost of 0.3."""
        self._start, self._old_start = start, cost
        self.limits = self.scales.limits(self.maps, self.smallest, start)
        self.plan = replace(self.plan, start=cost or math.exp(self.log_cost(start)[0]))

    def log_cost(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """The logarithm of the cost at ``values``, and its gradient ``(n,)``."""
        return self.scales.log_cost(self.cost, values)

    def reachable(self) -> tuple[float, float]:
        """Lowest and highest cost that the limits allow, in its unit."""
        return reachable(self.scales.read(), self.log_cost, self.limits)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return dict(start=self._start.tolist(), old_start=self._old_start, counted=self.counted,
                    measured=self.measured,
                    settled=None if self.settled is None else self.settled.tolist())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken; the phases are those of this run."""
        self._begin_at(np.array(state['start']), state['old_start'])
        self.counted, self.measured = state.get('counted'), state['measured']
        self.settled = None if state['settled'] is None else np.array(state['settled'])

    def keep(self, model: nn.Module, values: np.ndarray, progress: float) -> np.ndarray:
        """The scales nearest to ``values`` ``(n,)`` at the planned cost, or the settled ones.

        ``progress`` is the share of the training that is done; ``model`` is counted when the scales
        settle.
        """
        if self.settled is None:
            if progress < self.plan.settle:
                return project(values, self.log_cost, self.plan.wanted(progress), self.limits)
            self.settled = self._settle(model, values)
        return self.settled

    def outcome(self, model: nn.Module) -> Outcome:
        """What ``model`` costs now, whoever has set its scales, sizes rounded."""
        alphas = {name: pool.read_alpha() for name, pool in all_pools(model).items()}
        return self._outcome_at(self.cost.counted(model)(alphas))

    def _outcome_at(self, cost: float) -> Outcome:
        return Outcome(cost, self.plan.target, self.cost.initial, self.cost.unit)

    @property
    def is_coarse(self) -> bool:
        """Whether the scales settled off the target, as no sizes come nearer to it."""
        return self.counted is not None and not self._outcome_at(self.counted).is_met

    def describe_settled(self) -> str:
        """A log line about where the scales have settled."""
        measured = '' if self.measured is None else f', {self.measured:.4g} as measured'
        coarse = ('. No sizes that the network can have come nearer: let more levels learn, make '
                  "the image's `multiple` smaller, or choose another target"
                  if self.is_coarse and self.measured is None else '')
        return (f'the scales have settled at {self.counted:.4g} {self.cost.unit} as counted'
                f'{measured}; wanted were {self.plan.target:.4g}{coarse}')

    def _settle(self, model: nn.Module, values: np.ndarray) -> np.ndarray:
        """The scales whose cost, measured if possible, else counted, is nearest to the target.

        If the measured cost misses, the aim is moved by as much, and tried again.
        """
        target = aim = self.plan.target
        counted = self.cost.counted(model)
        found: list[tuple[float, np.ndarray, float | None]] = []
        for _ in range(1 + _CORRECTIONS):
            settled = self._nearest_counted(counted, values, aim)
            measured = self.cost.measured(model, self.scales.alphas(settled))
            miss = 0.0 if measured is None else abs(math.log(measured / target))
            found.append((miss, settled, measured))
            if measured is None or miss < _MEASURED_ENOUGH:
                break
            aim *= target / measured
        _, settled, self.measured = min(found, key=lambda entry: entry[0])
        self.counted = counted(self.scales.alphas(settled))
        return settled

    def _nearest_counted(self, counted: Callable, values: np.ndarray, wanted: float
                         ) -> np.ndarray:
        """The scales whose counted cost, rounded sizes included, is nearest to ``wanted``.

        First among the projections onto smooth costs. If the rounded sizes are too coarse there,
        as on small maps, each scale is moved by a few per cent, and then all of them at random.
        """
        known: dict[bytes, float] = {}

        def count(candidate: np.ndarray) -> float:
            key = candidate.tobytes()
            if key not in known:
                known[key] = counted(self.scales.alphas(candidate))
            return known[key]

        def miss(candidate: np.ndarray) -> float:
            return abs(math.log(count(candidate) / wanted))

        lowest, highest = map(math.log, self.reachable())
        middle = min(max(math.log(wanted), lowest), highest)
        low, high = max(lowest, middle - 0.3), min(highest, middle + 0.3)
        tried: list[np.ndarray] = []
        for _ in range(14):
            tried.append(project(values, self.log_cost, math.exp(middle), self.limits))
            cost = count(tried[-1])
            if cost == wanted or high - low < 1e-6:
                break
            low, high = (low, middle) if cost > wanted else (middle, high)
            middle = (low + high) / 2
        best = min(tried, key=miss)
        slope = self.log_cost(best)[1]
        for index in np.argsort(-np.abs(slope), kind='stable'):
            for part in (-_NEAR, -_NEAR / 2, _NEAR / 2, _NEAR):
                if miss(best) < _ENOUGH:
                    return best
                moved = best.copy()
                moved[index] = (moved[index] + math.log1p(part)).clip(
                    self.limits.low[index], self.limits.high[index])
                if (self.limits.rows @ moved <= self.limits.most + 1e-9).all():
                    best = min(best, moved, key=miss)
        # On maps of a few cells, all of them a little, further and further away.
        draw = np.random.default_rng(0)
        for trial in range(_TRIALS):
            if miss(best) < _ENOUGH:
                break
            noise = _FAR * (trial + 1) / _TRIALS * draw.standard_normal(len(best) + 1)
            aim = min(max(math.log(wanted) + noise[-1], lowest), highest)
            moved = project(values + noise[:-1], self.log_cost, math.exp(aim), self.limits)
            best = min(best, moved, key=miss)
        return best
