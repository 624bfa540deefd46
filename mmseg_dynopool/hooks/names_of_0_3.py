"""Hooks that configs of version 0.3 name, for one version: DynOPoolHook does what they did."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .dynopool_hook import DynOPoolHook


class _OldHook(Hook):

    priority = 'HIGHEST'  # before the hook that it may bring, whose turn is then to come

    def hand_over(self, hook: DynOPoolHook) -> None:
        """Give the options to the hook that has them now, which asks for them."""

    def before_run(self, runner: Runner) -> None:
        if not any(isinstance(hook, DynOPoolHook) for hook in runner.hooks):
            runner.register_hook(DynOPoolHook())


@HOOKS.register_module()
class GMACsBudgetHook(_OldHook):
    """Now [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] with ``gmacs_budget``."""


@HOOKS.register_module()
class LatencyBudgetHook(_OldHook):
    """Now [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] with ``latency_budget``."""


@HOOKS.register_module()
class MeasuredGradientHook(_OldHook):
    """Now [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] with ``gradient='learner'``.

    Args:
        every: option of `DynOPoolHook`.
        step: option of `DynOPoolHook`.

    Examples:
        >>> from mmseg_dynopool.hooks import MeasuredGradientHook
        >>> MeasuredGradientHook(every=2).options.every
        2
    """

    def __init__(self, every: int = 4, step: float = 0.1):
        self.options = DynOPoolHook(every=every, step=step)

    def hand_over(self, hook: DynOPoolHook) -> None:
        hook.gradient = 'learner'
        hook.every, hook.estimator = self.options.every, self.options.estimator
