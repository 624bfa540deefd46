"""Hooks that configs of version 0.3 name, for one version: DynOPoolHook does what they did."""

from mmseg.registry import HOOKS

from .dynopool_hook import DynOPoolHook, OldHook


@HOOKS.register_module()
class GMACsBudgetHook(OldHook):
    """Now [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] with ``gmacs_budget``."""


@HOOKS.register_module()
class LatencyBudgetHook(OldHook):
    """Now [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] with ``latency_budget``."""


@HOOKS.register_module()
class MeasuredGradientHook(OldHook):
    """Now [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] with ``gradient='learner'``.

    Args:
        every, step: options of `DynOPoolHook`.
    """

    def __init__(self, every: int = 4, step: float = 0.1):
        self.options = DynOPoolHook(every=every, step=step)

    def hand_over(self, hook: DynOPoolHook) -> None:
        hook.gradient = 'learner'
        hook.every, hook.estimator = self.options.every, self.options.estimator
