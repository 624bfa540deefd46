"""Moves the scales of a network while it trains, apart from the optimizer of its weights."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmseg_dynopool.costs import Cost
from mmseg_dynopool.costs.budget import check_phases
from mmseg_dynopool.costs.cost import LearnedMap
from mmseg_dynopool.layers import ImageResize, ResizingPool
from mmseg_dynopool.ops.size import check_whole, is_number

from .keeper import BudgetKeeper
from .projection import nearest
from .scales import LearnedScales
from .slopes import Slope, SlopeEstimator, SlopeMeans
from .two_passes import TwoPasses, mean_over_ranks

_logger = logging.getLogger(__name__)
_CUT = 2.0  # standard deviations of the jitter
_JITTER = 0.1
_SHORT = 500  # steps; in fewer, weights cannot learn neighbouring scales, too
_HOPELESS = 20  # estimates in a row without a finite loss


class ScaleLearner:
    """Learns scales from measured losses, at a planned cost, whatever the optimizer does.

    Until ``reach``, each pass runs at scales drawn around the current ones (jitter). Every few
    steps the loss's slope along one pooling is measured; the scales move against the means of
    these slopes, then to the nearest point of the planned cost, all in log(alpha). What an
    optimizer does to the alphas is overwritten; their gradients are zeros.

    Args:
        model: a network with DynOPools, unwrapped (of DDP its ``module``).
        steps: length of the training, in steps of the optimizer.
        cost: what the network costs; None for no budget and no weight.
        target: wanted cost at the end relative to the initial scales; None for no budget.
        weight: lambda, the weight of the cost in the loss, per unit of cost; not with a target.
        begin: share of the training after which the cost moves from where it began.
        reach: share after which it is at the target.
        settle: share after which the scales stay, also without a budget.
        travel: how far, in log(scale), a lasting slope of usual size takes a scale in the whole
            training.
        every: steps from one estimate to the next; default: 2, or a thousandth of the training if
            that is more.
        jitter: standard deviation, in log(scale), of the scales at which a pass runs, until
            ``reach``; default: 0.1, or 0 in trainings of fewer than 500 steps.
        estimator: measures the slope; default [`TwoPasses`][mmseg_dynopool.learning.TwoPasses].
        smallest: cells that each height and width of a learned map keeps at least, at the cost's
            shape; a map that has fewer at the start is left alone.
        maps: the learned maps; default: those of ``cost``, if it knows them.
        seed: of the jitter.

    Attributes:
        scales: the scales that learn.
        values: where they are, ``(n,)`` in log(alpha).
        done: steps that are done.
        keeper: the `BudgetKeeper`, or None.
        slopes: running means of the slopes.
        skipped: estimates that were not finite.

    Raises:
        ValueError: an argument is out of range, or no pooling can learn.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from mmseg_dynopool.costs import probe_complexity
        >>> from mmseg_dynopool.layers import DynOPool
        >>> from mmseg_dynopool.learning import ScaleLearner
        >>> model = nn.Sequential(DynOPool(0.5), nn.Conv2d(1, 4, 3, padding=1))
        >>> cost = probe_complexity(model, (64, 96), in_channels=1)
        >>> learner = ScaleLearner(model, steps=8, cost=cost, target=0.5)
        >>> for image in torch.rand(8, 1, 1, 64, 96):
        ...     with learner.step(lambda: model(image).square().mean()):
        ...         model(image).square().mean().backward()
        >>> round(cost.counted(model)({'0': model[0].alpha.tolist()}) / cost.initial, 2)
        0.5
    """

    def __init__(self, model: nn.Module, steps: int, cost: Cost | None = None,
                 target: float | None = None, weight: float = 0.0, begin: float = 0.1,
                 reach: float = 0.5, settle: float = 0.85, travel: float = 3.0,
                 every: int | None = None, jitter: float | None = None,
                 estimator: SlopeEstimator | None = None, smallest: int = 2,
                 maps: Sequence[LearnedMap] | None = None, seed: int = 0):
        check_options(travel, every, jitter, smallest, steps)
        check_phases(begin, reach, settle)
        if target is not None and weight:
            raise ValueError(f'give either target or weight, got {target!r} and {weight!r}')
        if cost is None and (target is not None or weight):
            raise ValueError(f'target={target!r} and weight={weight!r} are of a cost: give it, '
                             'e.g. cost=probe_complexity(model, (512, 1024))')
        self.model = model
        self.steps = steps
        self.cost = cost
        self.weight = weight
        self.reach = reach
        self.settle = settle
        self.travel = travel
        self.every = default_every(steps) if every is None else every
        self.jitter = default_jitter(steps) if jitter is None else jitter
        self.seed = seed
        self.estimator = estimator or TwoPasses()
        self.scales = LearnedScales(model)
        if not self.scales.parts:
            raise ValueError(f'{type(model).__name__} has no scale that can move: it holds no '
                             'DynOPool that learns, or all of them are frozen')
        if has_own_gradient(self.scales.pools[name] for name in self.scales.parts):
            raise ValueError('a ShapeAdaptor has a gradient of its own, and a learner moves it '
                             "beside the image's scale alone: train it by an optimizer, or use "
                             "type='DynOPool' or image=True")
        if maps is None:
            maps = cost.maps() if cost is not None else ()
        self.maps = maps
        self.smallest = smallest
        self.keeper: BudgetKeeper | None = None
        if cost is not None and target is not None:
            self.keeper = BudgetKeeper(self.scales, cost, target * cost.initial, smallest,
                                       self.maps, begin, reach, settle)
        self._begin_at(self.scales.read())
        self.values = self._inside(self.scales.read())
        self.slopes = SlopeMeans(self.scales)
        self.done = 0
        self.skipped = 0
        self._weights = step_weights(steps, self.every, settle)
        self._passes = 0
        self._measured = False
        self._skipped_in_a_row = 0

    @property
    def settled(self) -> bool:
        """Whether the scales stay where they are until the end."""
        if self.keeper is not None:
            return self.keeper.settled is not None
        return self.done >= self.settle * self.steps

    @contextmanager
    def step(self, loss: Callable[[], Tensor | float]) -> Iterator[None]:
        """Around one step of the training: its passes, backward too, and the optimizer's step.

        Where a slope is due, ``loss`` is called without gradients: it runs the network on this
        step's batch and returns the loss, a scalar.

        Raises:
            FloatingPointError: the loss was not finite in 20 estimates in a row.
        """
        self.measure(loss)
        self.begin_pass()
        try:
            yield
        finally:
            self.end_pass()
        self.advance()

    def measure(self, loss: Callable[[], Tensor | float]) -> None:
        """Measure a slope if the next step still needs one; see `step`."""
        if self._measured or self.settled or self.done + 1 not in self._weights:
            return
        self.scales.write_(self.values)
        means = self.slopes
        self.scales.note_coarseness(self.maps, self.values)
        device = self.scales.pools[next(iter(self.scales.parts))].parameter.device
        slope = self.estimator(self.model, lambda: mean_over_ranks(loss(), device), self.scales,
                               self.values, means.direction, self.limits, means.turn)
        self._measured = True
        if means.add(slope):
            self._skipped_in_a_row = 0
            return
        self.skipped += 1
        self._skipped_in_a_row += 1
        if self.skipped == 1:
            _logger.warning('step %d: the loss is not finite at other scales; the estimate is '
                            'skipped, as further ones will be', self.done + 1)
        if self._skipped_in_a_row == _HOPELESS:
            raise FloatingPointError(
                f'step {self.done + 1}: the loss was not finite in {_HOPELESS} estimates of its '
                'slope in a row. The training has diverged: resume from an earlier checkpoint with '
                'a lower lr')

    def begin_pass(self) -> None:
        """Let the passes that follow run at scales around the current ones, until `end_pass`."""
        self.scales.write_(self.values)
        values = self.values
        if self.jitter and self.done < self.reach * self.steps and not self.settled:
            draw = np.random.default_rng([self.seed, self._passes])
            noise = draw.standard_normal(len(values)).clip(-_CUT, _CUT)
            values = self._inside(values + self.jitter * noise)
        self._passes += 1
        self.scales.start_trial_(values)

    def end_pass(self) -> None:
        """Let passes run at the current scales."""
        self.scales.end_trial_()

    def advance(self) -> None:
        """Move the scales, after a step of the optimizer."""
        values, measured = self.values, self._measured
        self.done, self._measured = self.done + 1, False
        if measured:
            normal = added = None
            if self.keeper is not None:
                normal = self.keeper.log_cost(values)[1]
            elif self.cost is not None and self.weight:
                log, slope = self.scales.log_cost(self.cost, values)
                added = self.weight * math.exp(log) * slope
            way = self.slopes.step(normal, added)
            values = values + self.travel * self._weights[self.done] * way
        if self.keeper is not None:
            self.values = self.keeper.keep(self.model, values, self.done / self.steps)
        else:
            self.values = self._inside(values)
        self.scales.write_(self.values)

    def slope_of(self) -> dict[str, tuple[Slope | None, ...]]:
        """The loss's slope by log(scale) of height and width of each pooling that moves."""
        axes = self.slopes.axes()
        return {name: tuple(axes[part]) for name, part in self.scales.parts.items()}

    def slope_per_percent(self) -> float | None:
        """Change of the loss per 1 % of the cost; None without a budget."""
        if self.keeper is None:
            return None
        return self.slopes.per_percent(self.keeper.log_cost(self.values)[1])

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, to go on with the same bits."""
        return dict(names=list(self.scales.parts), values=self.values.tolist(), done=self.done,
                    passes=self._passes, skipped=self.skipped,
                    skipped_in_a_row=self._skipped_in_a_row, seed=self.seed,
                    slopes=self.slopes.state_dict(), start=self._start.tolist(),
                    keeper=self.keeper and self.keeper.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken; phases are shares of this learner's ``steps``."""
        if state['names'] != list(self.scales.parts):
            raise ValueError(f'the state is of the poolings {state["names"]}, and these are '
                             f'{list(self.scales.parts)}; resume with the network of that run')
        self.values = np.array(state['values'])
        self.done, self._passes, self.skipped = state['done'], state['passes'], state['skipped']
        self._skipped_in_a_row, self.seed = state['skipped_in_a_row'], state['seed']
        self.slopes.load_state_dict(state['slopes'])
        self._begin_at(np.array(state['start']))
        if self.keeper is not None and state['keeper'] is not None:
            self.keeper.load_state_dict(state['keeper'])
        self.scales.write_(self.values)

    def _begin_at(self, start: np.ndarray) -> None:
        self._start = start
        self.limits = self.scales.limits(self.maps, self.smallest, start)

    def _inside(self, values: np.ndarray) -> np.ndarray:
        inside = nearest(values, self.limits)
        return values if inside is None else inside


def has_own_gradient(pools: Iterable[ResizingPool]) -> bool:
    """Whether there are ShapeAdaptors, whose gradient is exact, and no image that learns."""
    pools = list(pools)
    return any(p.tied for p in pools) and not any(isinstance(p, ImageResize) for p in pools)


def default_jitter(steps: int) -> float:
    """The jitter of a training of ``steps``."""
    return _JITTER if steps >= _SHORT else 0.0


def default_every(steps: int) -> int:
    """Steps from one estimate to the next, for at most about 1,000 estimates in a training."""
    return max(2, -(-steps // 1000))


def step_weights(steps: int, every: int, settle: float) -> dict[int, float]:
    """The share of the travel in each estimate's step: a poly schedule with the sum 1."""
    weights = {step: (1 - step / steps)**0.9
               for step in range(every, steps, every) if step < settle * steps}
    total = sum(weights.values())
    return {step: weight / total for step, weight in weights.items()}


def check_options(travel: float, every: int | None, jitter: float | None, smallest: int,
                  steps: int = 1) -> None:
    """Raise a ValueError if an option of a learner is out of range."""
    if not is_number(travel) or travel < 0:
        raise ValueError(f'travel must be a number >= 0, e.g. 3, got {travel!r}')
    for name, value, unit in (('every', 1 if every is None else every, 'steps'),
                              ('smallest', smallest, 'cells'), ('steps', steps, 'steps')):
        check_whole(name, value, unit)
    if jitter is not None and (not is_number(jitter) or not 0 <= jitter < 1):
        raise ValueError(f'jitter must be at least 0 and below 1, e.g. 0.1, got {jitter!r}')
