"""Runs of version 0.3 that are resumed."""

from mmengine.runner import Runner
from torch.optim import Optimizer

_OPTIONS = ('gmacs_budget', 'latency_budget')


def state_of_0_3(checkpoint: dict) -> dict | None:
    """The state of `DynOPoolHook` from a checkpoint of version 0.3, whose budgets had hooks."""
    for option in _OPTIONS:
        old = checkpoint.get(option)
        if old:
            # 0 before the steering began; what has settled is where the checkpoint's alphas are.
            return dict(shape=None, cost=old if option == 'latency_budget' else None,
                        keeper=dict(start=None, old_start=old['start_cost'] or None,
                                    settled=None if old['settled'] is None else True,
                                    measured=old.get('measured_ms')))
    return None


def check_optimizer(runner: Runner, checkpoint: dict) -> None:
    """Check that the optimizer's state of a run that is resumed fits.

    Raises:
        ValueError: the config has lost the line that gave the alphas an lr of their own.
    """
    state = checkpoint.get('optimizer')
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)  # several have none of theirs
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
