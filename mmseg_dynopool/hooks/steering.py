"""What moves a run's scales, made from its hook's options once the images' shape is known."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.dist import broadcast_object_list
from mmengine.registry import TASK_UTILS
from mmengine.runner import Runner
from torch.optim import Optimizer

from mmseg_dynopool.costs import ComplexityModel, Cost, probe_complexity
from mmseg_dynopool.layers import ImageResize, learned_pools
from mmseg_dynopool.layers.pool import read_alphas
from mmseg_dynopool.learning import BudgetKeeper, LearnedScales, ScaleLearner
from mmseg_dynopool.models.whole_network import (
    NetworkForward,
    check_other_sizes,
    network_forward,
    unwrap,
)

from .runner import accumulation, all_steps, named_pools

if TYPE_CHECKING:
    from .dynopool_hook import DynOPoolHook

_OTHER_START = 1e-4  # of a scale


def steer(hook: DynOPoolHook, runner: Runner, shape: Sequence[int] | None, state: dict) -> tuple[
        Cost | None, ComplexityModel | None, BudgetKeeper | None, ScaleLearner | None]:
    """The hook's ``cost``, ``gmacs``, ``keeper`` and ``learner`` at a shape ``(H, W)``.

    They go on from ``state``, what the hook saved in a checkpoint.
    """
    model, budget = unwrap(runner.model), hook.options.budget
    cost: Cost | None = None
    gmacs = None
    if hook.has_cost:
        assert shape is not None  # asked for before
        network = (model, shape, *_find_forward(hook, runner, shape))
        if budget is not None:
            cost = budget.cost(*network, state=state.get('cost'))
            runner.logger.log(logging.WARNING if cost.is_doubtful else logging.INFO,
                              cost.describe())
        gmacs = cost if isinstance(cost, ComplexityModel) else probe_complexity(*network)
        cost = cost or gmacs
    maps = gmacs.maps() if gmacs else ()
    target: float | None = None
    phases: dict[str, float] = {}
    if budget is not None and cost is not None:
        target = budget.wanted(cost.initial) / cost.initial
        phases = dict(begin=budget.begin, reach=budget.reach, settle=budget.settle)
    else:  # where no plan makes other scales pay for a larger image
        for pool in learned_pools(model).values():
            if isinstance(pool, ImageResize):
                pool.bounds = pool.bounds[0], max(1.0, *pool.initial_scale)
    keeper = learner = None
    if hook.measures(model):
        estimator = build(hook.gradient) if isinstance(hook.gradient, dict) else hook.estimator
        seed: list[Any] = [runner.seed]
        broadcast_object_list(seed)
        learner = ScaleLearner(
            model, all_steps(runner), cost, target, hook.options.weight or 0.0,
            travel=hook.travel, every=hook.every, jitter=hook.jitter,
            estimator=estimator, smallest=hook.smallest, maps=maps, seed=seed[0] or 0, **phases)
        keeper = learner.keeper
    elif target is not None and cost is not None:
        keeper = BudgetKeeper(LearnedScales(model), cost, target * cost.initial, hook.smallest,
                              maps, **phases)
    small = LearnedScales(model).small_maps(maps, hook.smallest)
    if small and (learner or keeper):
        runner.logger.info(f'at {shape} these maps have fewer than smallest={hook.smallest} rows '
                           'or columns in the network as it begins, and may stay so: '
                           f'{", ".join(small)}')
    if keeper is not None and not state:
        start, initial = keeper.plan.start, keeper.cost.initial
        if any(abs(a * s - 1) > _OTHER_START for pool in learned_pools(model).values()
               for a, s in zip(pool.read_alpha(), pool.initial_scale)):
            runner.logger.info(
                f'the run begins at {start / initial:.3f} of the cost at the initial scales of '
                'its config, to which the budget is relative: it has loaded other scales')
    _resume(runner, learner, keeper, state)
    return cost, gmacs, keeper, learner


def _find_forward(hook: DynOPoolHook, runner: Runner, shape: Sequence[int]) -> NetworkForward:
    """How the model runs when it is counted, and whether it does so at other scales."""
    model = unwrap(runner.model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        found = network_forward(model, shape, hook.forward, hook.in_channels)
    for warning in caught:
        runner.logger.warning(warning.message)
    check_other_sizes(model, shape, hook.forward, hook.in_channels)
    return found


def keep_in_bounds(runner: Runner, keeper: BudgetKeeper | None) -> None:
    """Keep the alphas that an optimizer has moved in their bounds, and at the plan."""
    pools = named_pools(runner)
    try:
        read_alphas(pools)  # raises an error that the projection would hide
    except ValueError as error:
        raise ValueError(f'iteration {runner.iter + 1}: {error}. No checkpoint was written '
                         'since') from error
    for pool in pools.values():
        pool.project_()
    if keeper is not None:
        done = -(-(runner.iter + 1) // accumulation(runner))
        keeper.scales.write_(keeper.keep(unwrap(runner.model), keeper.scales.read(),
                                         done / all_steps(runner)))


def build(options: Any) -> Any:
    """An object from its ``dict(type=...)`` in mmengine's ``TASK_UTILS``."""
    if not isinstance(options, dict):
        return options
    try:
        return TASK_UTILS.build(dict(options))
    except KeyError as error:  # mmengine's, of an unknown or a missing type
        raise ValueError(f'cannot build {options!r}: it takes a type that is registered in '
                         f"mmengine's TASK_UTILS ({error.args[0]})") from error


def state_of_0_3(checkpoint: dict) -> dict | None:
    """The state of `DynOPoolHook` from a checkpoint of version 0.3, whose budgets had hooks."""
    for option in ('gmacs_budget', 'latency_budget'):
        old = checkpoint.get(option)
        if old:
            # 0 before the steering began; what has settled is where the checkpoint's alphas are.
            return dict(shape=None, cost=old if option == 'latency_budget' else None,
                        keeper=dict(start=None, old_start=old['start_cost'] or None,
                                    settled=None if old['settled'] is None else True,
                                    measured=old.get('measured_ms')))
    return None


def check_optimizer(runner: Runner, checkpoint: dict) -> None:
    """Raise a ValueError if a config has lost the line that gave the alphas an lr of their own."""
    state = checkpoint.get('optimizer')
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)  # an OptimWrapperDict has none
    if not getattr(runner, '_resume', False) or not isinstance(
            optimizer, Optimizer) or not isinstance(state, dict) or 'param_groups' not in state:
        return
    groups = optimizer.param_groups
    if len(state['param_groups']) != len(groups):
        raise ValueError(
            f'the optimizer of the run that is resumed has {len(state["param_groups"])} groups of '
            f'parameters, this one {len(groups)}. If the config of that run gave the alphas an lr, '
            "keep its line until the run ends: optim_wrapper=dict(paramwise_cfg=dict(custom_keys={"
            "'dynopools': dict(lr_mult=..., decay_mult=0.)}))")


def _resume(runner: Runner, learner: ScaleLearner | None, keeper: BudgetKeeper | None, state: dict
            ) -> None:
    """Go on where a checkpoint was written."""
    if learner is not None and state.get('learner'):
        learner.load_state_dict(state['learner'])
    elif state:
        old = state.get('keeper') or (state.get('learner') or {}).get('keeper')
        if keeper is not None and old:
            now = keeper.scales.read().tolist()  # where a run of 0.3 has settled, if it has
            keeper.load_state_dict(dict(old, start=old['start'] or now, settled=(
                now if old['settled'] is True else old['settled'])))
        if learner is not None:  # of version 0.3, or of a run with the other gradient
            runner.logger.info('the scales have a learner that is new to this run; it goes on '
                               'from where they are, at this place in the plan')
    if learner is not None:  # in steps of this run, which may accumulate more iterations
        learner.done = runner.iter // accumulation(runner)
