"""What is logged of a run's cost and of its slopes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.runner import Runner

from mmseg_dynopool.learning.cost_gradient import cost_of
from mmseg_dynopool.models.whole_network import unwrap

from .optimizers import progress
from .shape_scalar import ShapeScalar

if TYPE_CHECKING:
    from .dynopool_hook import DynOPoolHook


def scalars_now(hook: DynOPoolHook, runner: Runner) -> dict[str, Any]:
    """What is logged of this iteration, of the scales with which it begins."""
    scalars: dict[str, Any] = {}
    learner, keeper = hook.learner, hook.keeper
    if learner is not None and learner.skipped:
        scalars['slopes_skipped'] = learner.skipped
    if hook.cost is None or hook.gmacs is None:
        return scalars
    model = unwrap(runner.model)
    for cost in dict.fromkeys([hook.gmacs, hook.cost]):
        now = cost_of(model, cost).detach()
        scalars[cost.scalar] = now.float()
        scalars[f'{cost.name}_ratio'] = (now / cost.initial).float()
    name, unit = hook.cost.name, hook.cost.unit.lower()
    if keeper is not None:
        scalars[f'{name}_plan'] = keeper.plan.wanted(progress(runner)) / hook.cost.initial
        if keeper.measured is not None:
            scalars[f'{name}_measured_{unit}'] = keeper.measured
        if learner is not None and not learner.settled:
            scalars[f'{name}_slope'] = learner.slope_per_percent()
    elif hook.options.weight is not None:
        scalars['loss_gmacs'] = hook.options.weight * scalars['gmacs']
    return scalars


def log(runner: Runner, scalars: dict[str, Any], outputs: dict | None) -> None:
    """Give an iteration's scalars to mmengine's log."""
    if isinstance(outputs, dict):
        if 'loss_gmacs' in scalars and 'loss' in outputs:
            outputs['loss'] = outputs['loss'] + scalars['loss_gmacs']
        outputs.update(scalars)  # which mmengine logs
    else:
        for key, value in scalars.items():
            runner.message_hub.update_scalar(f'train/{key}', value)


def forget_slopes(hook: DynOPoolHook, runner: Runner) -> None:
    """Take slopes out of the log's lines: mmengine repeats what was logged last."""
    scalars = runner.message_hub.log_scalars
    of_cost = f'train/{hook.cost.name}_slope' if hook.cost else ''
    for key in [key for key in scalars if key == of_cost or ((
            shape := ShapeScalar.parse(key)) and shape.quantity.startswith('slope'))]:
        del scalars[key]
