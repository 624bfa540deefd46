"""Keeps the learned scales inside their bounds and shows them."""

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmseg.registry import HOOKS

from mmseg_dynopool.layers import LearnedPool, learned_pools, short_name


@HOOKS.register_module()
class DynOPoolHook(Hook):
    """Projects every alpha into its bounds after each step, and logs it.

    Logged per instance: ``dynopool/<instance>/alpha_h``, ``alpha_w``, ``scale_h``, ``scale_w``,
    and once ``dynopool/lr``, the learning rate of the alphas' parameter group: in the log line
    and in each of the visualizer's backends. Where the model has a ``gmacs_budget``, the hook
    adapts its weight, and once the budget has settled, each ``EMAHook`` averages with the settled
    alphas: the averaged network meets the budget, too.

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
            if runner.iter == 0:  # load_from may have brought the end of another run
                model.gmacs_budget.reset()
            model.start_budget()
        for group in self._groups(runner, pools):
            if group.get('weight_decay', 0) > 0:
                runner.logger.warning(
                    'weight decay %g acts on alpha and pulls the scales up; set paramwise_cfg='
                    "dict(custom_keys={'dynopools': dict(lr_mult=0.5, decay_mult=0.)})",
                    group['weight_decay'])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        pools = self._pools(runner)
        found = self._stack(pools)
        for pool in pools.values():
            pool.project_()
        # One read from the device for all instances, before and after the projection.
        found, kept = torch.stack([found, self._stack(pools)]).tolist()
        self._check_finite(runner, pools, found)
        self._control_budget(runner)
        if self._is_settled(runner):
            self._settle_averages(runner)
            kept = self._stack(pools).tolist()
        self._log(runner, pools, kept)

    @staticmethod
    def _model(runner):
        return runner.model.module if is_model_wrapper(runner.model) else runner.model

    @classmethod
    def _pools(cls, runner) -> dict[str, LearnedPool]:
        found = learned_pools(cls._model(runner))
        return {short_name(name): pool for name, pool in found.items()}

    @staticmethod
    def _stack(pools) -> torch.Tensor:
        return torch.stack([pool.alpha.detach() for pool in pools.values()])

    @classmethod
    def _control_budget(cls, runner) -> None:
        model, wrapper = cls._model(runner), runner.optim_wrapper
        # While gradients accumulate no alpha moves: time counts in the optimizer's steps.
        if getattr(model, 'gmacs_budget', None) is not None and wrapper.should_update():
            every = wrapper._accumulative_counts
            model.step_budget(wrapper.optimizer, -(-(runner.iter + 1) // every),
                              -(-runner.max_iters // every))

    @classmethod
    def _is_settled(cls, runner) -> bool:
        budget = getattr(cls._model(runner), 'gmacs_budget', None)
        return budget is not None and bool(budget.settled)

    @classmethod
    @torch.no_grad()
    def _settle_averages(cls, runner) -> None:
        """Give moving averages the settled alphas: they lag behind and would miss the budget."""
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                averaged = dict(hook.ema_model.module.named_modules())
                for name, pool in cls._model(runner).pools().items():
                    averaged[name].alpha.copy_(pool.alpha)

    @staticmethod
    def _groups(runner, pools) -> list[dict]:
        # Of a DynOPool alpha itself, of a ShapeAdaptor its logit.
        parameters = {id(p) for pool in pools.values() for p in pool.parameters()}
        return [
            group for group in runner.optim_wrapper.param_groups
            if any(id(p) in parameters for p in group['params'])
        ]

    @staticmethod
    def _check_finite(runner, pools, alphas) -> None:
        for name, alpha in zip(pools, alphas):
            if not all(-float('inf') < a < float('inf') for a in alpha):
                raise ValueError(
                    f'alpha of DynOPool {name!r} became {tuple(alpha)} in iteration '
                    f'{runner.iter + 1}; no checkpoint was written since. Resume from the last '
                    'one with a lower lr_mult for alpha, or clip the gradient')

    def _log(self, runner, pools, alphas) -> None:
        hub = runner.message_hub
        for group in self._groups(runner, pools)[:1]:
            hub.update_scalar('train/dynopool/lr', group['lr'])
        for name, pair in zip(pools, alphas):
            for axis, alpha in zip('hw', pair):
                hub.update_scalar(f'train/dynopool/{name}/alpha_{axis}', alpha)
                hub.update_scalar(f'train/dynopool/{name}/scale_{axis}', 1 / alpha)
