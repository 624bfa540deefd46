"""Keeps the learned scales inside their bounds and shows them."""

import torch
from mmengine.hooks import EMAHook, Hook, LoggerHook
from mmseg.registry import HOOKS

from mmseg_dynopool.layers import LearnedPool, learned_pools, short_name, unwrap

from .gradient_window import GradientNoise, GradientWindow


@HOOKS.register_module()
class DynOPoolHook(Hook):
    """Projects every alpha into its bounds after each step, and logs it.

    Logged, in the log line and in each of the visualizer's backends (``_h`` and ``_w`` each):

    - ``dynopool/<instance>/alpha_h``, and ``scale_h`` = 1 / alpha;
    - ``dynopool/<instance>/grad_mean_h``, ``grad_std_h``, ``grad_snr_h``: mean and sample standard
      deviation of alpha's gradient over the optimizer's steps since the last log line, and
      |mean| / std. As the optimizer gets it, see :class:`GradientWindow`. Noise alone gives about
      0.8 / sqrt(steps): a ratio that stays there says that the shape no longer learns, but
      wanders. A window with less than two steps goes on to the next line. A ShapeAdaptor, whose
      alpha is no parameter, has none;
    - ``dynopool/input/size_h``, the training crop in pixels (``gmacs_shape`` where that is
      set), and ``dynopool/<stream>/size_h``, the rounded size of each stream's features there,
      with a learned stem of ``stem1`` and ``stem2``, too (networks with
      ``feature_sizes``, such as :class:`DynOPoolHRNet`, whose crop is known);
    - ``dynopool/lr``, the learning rate of the alphas' parameter group.

    The segmentors' loss logs ``gmacs`` and ``gmacs_ratio``, the cost now and relative to the
    start.

    Where the model has a ``gmacs_budget``, the hook adapts its weight, and once the budget has
    settled, each ``EMAHook`` averages with the settled alphas: the averaged network meets the
    budget, too.

    Runs before moving averages and checkpoints see the new alphas.

    Raises:
        ValueError: the model holds no DynOPool, a budget is out of reach, or an alpha became NaN
            or infinite.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self):
        self._gradients: GradientWindow | None = None

    def before_train(self, runner) -> None:
        pools = self._pools(runner)
        if not pools:
            raise ValueError('DynOPoolHook: the model holds no DynOPool; set '
                             "model.backbone.type='DynOPoolHRNet' or remove the hook")
        model = unwrap(runner.model)
        if getattr(model, 'gmacs_budget', None) is not None:
            if runner.iter == 0:  # load_from may have brought the end of another run
                model.gmacs_budget.reset()
            model.start_budget()
        if hasattr(model, 'known_shape') and model.known_shape() is None:
            runner.logger.warning(
                'GMACs will count at the size of the first batch, after a resume at another one; '
                'set model.gmacs_shape=(H, W)')
        for group in self._groups(runner, pools):
            if group.get('weight_decay', 0) > 0:
                runner.logger.warning(
                    'weight decay %g acts on alpha and pulls the scales up; set paramwise_cfg='
                    "dict(custom_keys={'dynopools': dict(lr_mult=0.5, decay_mult=0.)})",
                    group['weight_decay'])
        self._stop_gradients()
        if any(isinstance(hook, LoggerHook) for hook in runner.hooks):  # else nobody reads them
            self._gradients = GradientWindow(runner.optim_wrapper.optimizer,
                                             [pool.alpha for pool in pools.values()])

    def after_train(self, runner) -> None:
        self._stop_gradients()

    def _stop_gradients(self) -> None:
        if self._gradients is not None:
            self._gradients.remove()
            self._gradients = None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        pools = self._pools(runner)
        found = self._stack(pools)
        for pool in pools.values():
            pool.project_()
        values = [found, self._stack(pools)]
        is_line = self._is_line(runner, batch_idx)
        if is_line and self._gradients is not None and len(self._gradients) > 1:
            values += self._gradients.stack()
            self._gradients.clear()
        # One read from the device for all instances: before and after the projection, gradients.
        found, kept, *gradients = torch.stack(values).tolist()
        self._check_finite(runner, pools, found)
        self._control_budget(runner)
        if self._is_settled(runner):
            self._settle_averages(runner)
            kept = self._stack(pools).tolist()
        self._log(runner, pools, kept)
        if is_line:
            self._log_gradients(runner, pools, gradients)
            self._log_sizes(runner, pools, kept)

    @staticmethod
    def _is_line(runner, batch_idx) -> bool:
        """Whether a LoggerHook, which runs later, writes a line in this iteration."""
        loader = runner.train_dataloader
        return any(
            hook.every_n_inner_iters(batch_idx, hook.interval) or
            (hook.end_of_epoch(loader, batch_idx) and
             (not hook.ignore_last or len(loader) <= hook.interval))
            for hook in runner.hooks if isinstance(hook, LoggerHook))

    @staticmethod
    def _pools(runner) -> dict[str, LearnedPool]:
        found = learned_pools(unwrap(runner.model))
        return {short_name(name): pool for name, pool in found.items()}

    @staticmethod
    def _stack(pools) -> torch.Tensor:
        return torch.stack([pool.alpha.detach() for pool in pools.values()])

    @staticmethod
    def _control_budget(runner) -> None:
        model, wrapper = unwrap(runner.model), runner.optim_wrapper
        # While gradients accumulate no alpha moves: time counts in the optimizer's steps.
        if getattr(model, 'gmacs_budget', None) is not None and wrapper.should_update():
            every = wrapper._accumulative_counts
            model.step_budget(wrapper.optimizer, -(-(runner.iter + 1) // every),
                              -(-runner.max_iters // every))

    @staticmethod
    def _is_settled(runner) -> bool:
        budget = getattr(unwrap(runner.model), 'gmacs_budget', None)
        return budget is not None and bool(budget.settled)

    @staticmethod
    @torch.no_grad()
    def _settle_averages(runner) -> None:
        """Give moving averages the settled alphas: they lag behind and would miss the budget."""
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                averaged = dict(hook.ema_model.module.named_modules())
                for name, pool in unwrap(runner.model).pools().items():
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

    @staticmethod
    def _log_gradients(runner, pools, gradients) -> None:
        """Log a window's gradients, ``(steps, pools, 2)``."""
        for name, steps in zip(pools, zip(*gradients)):
            for axis, values in zip('hw', zip(*steps)):
                noise = GradientNoise.of(values)
                for key in ('mean', 'std', 'snr') if noise else ():
                    if getattr(noise, key) is not None:
                        runner.message_hub.update_scalar(
                            f'train/dynopool/{name}/grad_{key}_{axis}', getattr(noise, key))

    @staticmethod
    def _log_sizes(runner, pools, alphas) -> None:
        model = unwrap(runner.model)
        shape = getattr(model, 'counted_shape', None) or getattr(
            getattr(model, 'data_preprocessor', None), 'size', None)
        backbone = getattr(model, 'backbone', None)
        if shape is None or not hasattr(backbone, 'feature_sizes'):
            return
        sizes = backbone.feature_sizes(shape, dict(zip(pools, alphas)))
        for name, size in dict(input=shape, **sizes).items():
            for axis, value in zip('hw', size):
                runner.message_hub.update_scalar(f'train/dynopool/{name}/size_{axis}', int(value))
