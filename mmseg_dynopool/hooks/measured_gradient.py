"""Alphas that learn from measured losses."""

import copy

from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from mmseg_dynopool.layers import DynOPool, measure_alpha_gradient
from mmseg_dynopool.layers.find import unwrap

from .gradient_window import loss_scale
from .shape_log_hook import named_pools


@HOOKS.register_module()
class MeasuredGradientHook(Hook):
    """Gives the DynOPools a gradient that is measured, in the place of the straight-through one.

    Every few steps of the optimizer the batch's task loss is evaluated at two other scales of one
    of them, see
    [`measure_alpha_gradient`][mmseg_dynopool.layers.measure_alpha_gradient]. The estimate times
    `every` is added to alpha's gradient right before the step, after clipping; the gradient of the
    cost is not measured and acts in every step. Once a budget has settled, nothing is measured.

    An estimate is noisier than the straight-through gradient and takes a lower lr, about 0.4 of it.

    Args:
        every: steps of the optimizer from one estimate to the next. Two forward passes are about
            two thirds of a training step: 4 costs a sixth of the time, 1 two thirds.
        step: by how much the logarithm of a scale is changed, up and down. It should move the
            sizes of the coarsest map.

    Raises:
        ValueError: an argument is out of range, or the model's poolings are no DynOPools.

    Examples:
        >>> from mmseg.registry import HOOKS
        >>> import mmseg_dynopool
        >>> custom_hooks = [dict(type='DynOPoolHook'), dict(type='MeasuredGradientHook', every=2)]
        >>> hook = HOOKS.build(custom_hooks[1])
        >>> hook.every, hook.step
        (2, 0.1)
    """

    priority = 39  # before DynOPoolHook (40), whose log reads the gradient

    def __init__(self, every: int = 4, step: float = 0.1):
        if not isinstance(every, int) or every < 1:
            raise ValueError(f'every must be a whole number of steps >= 1, got {every!r}')
        if not 0 < step < 1:
            raise ValueError(f'step must be between 0 and 1, e.g. 0.1, got {step!r}')
        self.every = every
        self.step = step
        self._batch: DATA_BATCH = None
        self._handle: RemovableHandle | None = None

    def before_train(self, runner: Runner) -> None:
        # A gradient would move frozen alphas, where the optimizer holds them.
        trained = {name: pool for name, pool in named_pools(runner).items()
                   if pool.parameter.requires_grad}
        pools: dict[str, DynOPool] = {}
        for name, pool in trained.items():
            if not isinstance(pool, DynOPool):
                raise ValueError(f'MeasuredGradientHook: {name} is a {type(pool).__name__}, whose '
                                 "gradient needs no measuring; remove the hook or set "
                                 "type='DynOPool'")
            pool.anchor = 'none'
            pools[name] = pool
        self.after_train(runner)
        self._handle = runner.optim_wrapper.optimizer.register_step_pre_hook(
            lambda optimizer, args, kwargs: self._add(runner, pools))

    def after_train(self, runner: Runner) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
                          ) -> None:
        self._batch = data_batch
        if self._measures(runner) and 'data_samples' in data_batch:
            # mmpretrain's Mixup writes its scores into the samples.
            samples = copy.deepcopy(data_batch['data_samples'])
            self._batch = dict(data_batch, data_samples=samples)

    def _measures(self, runner: Runner) -> bool:
        """Whether this iteration's step of the optimizer, if it is one, gets an estimate."""
        return (runner.iter // runner.optim_wrapper._accumulative_counts + 1) % self.every == 0

    def _add(self, runner: Runner, pools: dict[str, DynOPool]) -> None:
        if not self._measures(runner) or not pools or _settled(runner):
            return
        steps = runner.iter // runner.optim_wrapper._accumulative_counts
        model: BaseModel = unwrap(runner.model)
        batch = model.data_preprocessor(self._batch, True)

        def loss() -> Tensor:
            with runner.optim_wrapper.optim_context(model):
                losses = model(**batch, mode='loss')
            for key in ('loss_gmacs', 'loss_latency'):
                losses.pop(key, None)
            value = model.parse_losses(losses)[0].detach()
            all_reduce(value, 'mean')
            return value

        gradients = measure_alpha_gradient(model, pools, loss, steps // self.every, self.step)
        factor = self.every * loss_scale(runner.optim_wrapper.optimizer)
        for name, gradient in gradients.items():
            alpha = pools[name].alpha
            gradient = factor * gradient
            alpha.grad = gradient if alpha.grad is None else alpha.grad + gradient


def _settled(runner: Runner) -> bool:
    return any(getattr(hook, 'settled', None) is not None for hook in runner.hooks)
