"""Hooks that configs of version 0.3 name, for one version: DynOPoolHook does what they did."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .dynopool_hook import DynOPoolHook


@HOOKS.register_module(['GMACsBudgetHook', 'LatencyBudgetHook'])
class GMACsBudgetHook(Hook):
    """Registers a [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] if there is none."""

    priority = 'HIGHEST'  # before the hook that it may register, whose turn is then to come

    def before_run(self, runner: Runner) -> None:
        if not any(isinstance(hook, DynOPoolHook) for hook in runner.hooks):
            runner.register_hook(DynOPoolHook())


LatencyBudgetHook = GMACsBudgetHook


@HOOKS.register_module()
class MeasuredGradientHook(GMACsBudgetHook):
    """Now [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] with ``gradient='learner'``.

    ``every`` and ``step`` are its options.

    Examples:
        >>> from mmseg_dynopool.hooks import MeasuredGradientHook
        >>> MeasuredGradientHook(every=2).options.every
        2
    """

    def __init__(self, every: int = 4, step: float = 0.1):
        self.options = DynOPoolHook(every=every, step=step)

    def before_run(self, runner: Runner) -> None:
        super().before_run(runner)
        for hook in runner.hooks:
            if isinstance(hook, DynOPoolHook):
                self.hand_over(hook)

    def hand_over(self, hook: DynOPoolHook) -> None:
        """Give the options to the hook that has them now."""
        hook.gradient = 'learner'
        hook.every, hook.estimator = self.options.every, self.options.estimator
