"""Keeps the learned scales inside their bounds and shows them."""

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmseg.registry import HOOKS

from mmseg_dynopool.layers import DynOPool


@HOOKS.register_module()
class DynOPoolHook(Hook):
    """Projects every alpha into its bounds after each step, and logs it.

    Logged per instance: ``dynopool/<instance>/alpha_h``, ``alpha_w``, ``scale_h``, ``scale_w``,
    and once ``dynopool/lr``, the learning rate of the alphas' parameter group: in the log line
    and in each of the visualizer's backends. Where the model has a ``gmacs_budget``, the hook
    adapts its weight.

    Runs before moving averages and checkpoints see the new alphas.

    Raises:
        ValueError: the model holds no DynOPool, a budget is out of reach, or an alpha became NaN
            or infinite.
    """

    priority = 'ABOVE_NORMAL'

    def before_train(self, runner) -> None:
        pools = self._pools(runner)
        if not pools:
            raise ValueError('DynOPoolHook: the model holds no DynOPool; set '
                             "model.backbone.type='DynOPoolHRNet' or remove the hook")
        model = self._model(runner)
        if getattr(model, 'gmacs_budget', None) is not None:
            model.start_budget()
        for group in self._groups(runner, pools):
            if group.get('weight_decay', 0) > 0:
                runner.logger.warning(
                    'weight decay %g acts on alpha and pulls the scales up; set paramwise_cfg='
                    "dict(custom_keys={'dynopools': dict(lr_mult=0.5, decay_mult=0.)})",
                    group['weight_decay'])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        pools = self._pools(runner)
        # One read from the device for all instances.
        alphas = torch.stack([pool.alpha.detach() for pool in pools.values()])
        self._check_finite(runner, pools, alphas.tolist())
        for pool in pools.values():
            pool.project_()
        self._control_budget(runner)
        self._log(runner, pools)

    @staticmethod
    def _model(runner):
        return runner.model.module if is_model_wrapper(runner.model) else runner.model

    @classmethod
    def _pools(cls, runner) -> dict[str, DynOPool]:
        return {
            name.rpartition('dynopools.')[2]: module
            for name, module in cls._model(runner).named_modules()
            if isinstance(module, DynOPool)
        }

    @classmethod
    def _control_budget(cls, runner) -> None:
        model = cls._model(runner)
        if getattr(model, 'gmacs_budget', None) is not None:
            model.step_budget(runner.optim_wrapper.optimizer, runner.iter + 1, runner.max_iters)

    @staticmethod
    def _groups(runner, pools) -> list[dict]:
        alphas = {id(pool.alpha) for pool in pools.values()}
        return [
            group for group in runner.optim_wrapper.param_groups
            if any(id(p) in alphas for p in group['params'])
        ]

    @staticmethod
    def _check_finite(runner, pools, alphas) -> None:
        for name, alpha in zip(pools, alphas):
            if not all(-float('inf') < a < float('inf') for a in alpha):
                raise ValueError(
                    f'alpha of DynOPool {name!r} became {tuple(alpha)} in iteration '
                    f'{runner.iter + 1}; no checkpoint was written since. Resume from the last '
                    'one with a lower lr_mult for alpha, or clip the gradient')

    def _log(self, runner, pools) -> None:
        hub = runner.message_hub
        alphas = torch.stack([pool.alpha.detach() for pool in pools.values()]).tolist()
        for group in self._groups(runner, pools)[:1]:
            hub.update_scalar('train/dynopool/lr', group['lr'])
        for name, pair in zip(pools, alphas):
            for axis, alpha in zip('hw', pair):
                hub.update_scalar(f'train/dynopool/{name}/alpha_{axis}', alpha)
                hub.update_scalar(f'train/dynopool/{name}/scale_{axis}', 1 / alpha)
