"""Keeps the learned scales inside their bounds."""

from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_dynopool.budget import GMACsBudgetHook, LatencyBudgetHook
from mmseg_dynopool.layers.find import unwrap
from mmseg_dynopool.layers.pool import read_alphas

from .shape_log_hook import ShapeLogHook, named_pools, parameter_groups


@HOOKS.register_module()
class DynOPoolHook(Hook):
    """Projects every alpha into its bounds after each step.

    Brings along [`ShapeLogHook`][mmseg_dynopool.hooks.ShapeLogHook], which logs the shapes, and
    where the model has a `gmacs_budget` or `latency_budget` its hook,
    [`GMACsBudgetHook`][mmseg_dynopool.budget.GMACsBudgetHook] or
    [`LatencyBudgetHook`][mmseg_dynopool.budget.LatencyBudgetHook]; they run right after it, in
    the order budget, log.

    Runs before moving averages and checkpoints see the new alphas.

    Raises:
        ValueError: the model holds no DynOPool, or an alpha became NaN or infinite.

    Examples:
        >>> from types import SimpleNamespace
        >>> from mmseg.registry import HOOKS
        >>> from mmseg_dynopool.layers import DynOPool
        >>> custom_hooks = [dict(type='DynOPoolHook')]
        >>> pool = DynOPool(scale=0.5, bounds=(0.125, 1.0))
        >>> _ = pool.alpha.data.fill_(0.8)  # a step of the optimizer, to a scale of 1.25
        >>> HOOKS.build(custom_hooks[0]).after_train_iter(SimpleNamespace(model=pool, iter=0), 0)
        >>> pool.scale
        tensor([1., 1.])
    """

    priority = 'ABOVE_NORMAL'

    def before_run(self, runner: Runner) -> None:
        # Before the checkpoint is loaded, in which the budget's hook has its state.
        wanted = [ShapeLogHook]
        for kind in (GMACsBudgetHook, LatencyBudgetHook):
            if getattr(unwrap(runner.model), kind.kind.option, None) is not None:
                wanted.insert(0, kind)
        for kind in wanted:
            if not any(isinstance(hook, kind) for hook in runner.hooks):
                runner.register_hook(kind())

    def before_train(self, runner: Runner) -> None:
        pools = named_pools(runner)
        if not pools:
            raise ValueError('DynOPoolHook: the model holds no DynOPool; set '
                             "model.dynopool=dict(rule='before') to convert its backbone, or "
                             "model.backbone.type='DynOPoolHRNet', or remove the hook")
        if getattr(unwrap(runner.model), 'counted_shape', 'not asked for') is None:
            runner.logger.warning(
                'GMACs will count at the size of the first batch, after a resume at another one; '
                'set model.gmacs_shape=(H, W)')
        for group in parameter_groups(runner, pools):
            if group.get('weight_decay', 0) > 0:
                runner.logger.warning(
                    'weight decay %g acts on alpha and pulls the scales up; set paramwise_cfg='
                    "dict(custom_keys={'dynopools': dict(lr_mult=0.5, decay_mult=0.)})",
                    group['weight_decay'])

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None,
                         outputs: dict | None = None) -> None:
        pools = named_pools(runner)
        try:
            read_alphas(pools)  # the values after the projection, or what it would hide
        except ValueError as error:
            raise ValueError(f'iteration {runner.iter + 1}: {error}. No checkpoint was written '
                             'since') from error
        for pool in pools.values():
            pool.project_()
