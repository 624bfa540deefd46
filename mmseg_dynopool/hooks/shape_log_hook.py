"""Logs what a network learns of its shape, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from mmengine.hooks import Hook, LoggerHook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor
from torch.optim import Optimizer

from mmseg_dynopool.layers import ResizingPool
from mmseg_dynopool.layers.find import short_names
from mmseg_dynopool.learning.cost_gradient import cost_of
from mmseg_dynopool.models.whole_network import unwrap

from .runner import groups_of, loss_scale, named_pools, progress
from .shape_scalar import LEARNING_RATE, ShapeScalar

if TYPE_CHECKING:
    from .dynopool_hook import DynOPoolHook


class GradientNoise(NamedTuple):
    """Mean, sample standard deviation, and ``|mean| / std`` (None if std is 0) of a gradient."""

    mean: float
    std: float
    snr: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> GradientNoise | None:
        """Of the finite ``values``; None if they are fewer than two."""
        values = [value for value in values if math.isfinite(value)]
        if len(values) < 2:
            return None
        mean, std = fmean(values), stdev(values)
        return cls(mean, std, abs(mean) / std if std > 0 else None)


class GradientWindow:
    """Keeps the gradients with which an optimizer steps, on their device, until they are read.

    They are noted right before its step: there gradients are accumulated over the micro-batches,
    averaged over the ranks (DDP), free of the loss scale and clipped, and a step that a loss
    scaler skips does not count. The parameters are left alone, so copies of them are as before.
    """

    def __init__(self, optimizer: Optimizer, alphas: Sequence[Tensor]):
        self._alphas = list(alphas)
        self._rows: list[Tensor] = []
        self._handle = optimizer.register_step_pre_hook(self._note)

    def __len__(self) -> int:
        """Number of steps noted."""
        return len(self._rows)

    def stack(self) -> Tensor:
        """The noted gradients, ``(steps, alphas, 2)``, NaN where there was none; no device read."""
        return torch.stack(self._rows)

    def clear(self) -> None:
        """Begin a new window."""
        self._rows.clear()

    def remove(self) -> None:
        """Take the hook off the optimizer."""
        self._handle.remove()

    def _note(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        # None of a ShapeAdaptor's logit, which is of another shape.
        row = torch.stack([
            alpha.grad.detach() if alpha.shape == (2, ) and alpha.grad is not None
            else alpha.detach().new_full((2, ), math.nan) for alpha in self._alphas])
        self._rows.append(row / loss_scale(optimizer))


@HOOKS.register_module()
class ShapeLogHook(Hook):
    """Logs the learned shapes in each line of the log and each of the visualizer's backends.

    [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] brings it along. Logged (`_h` and `_w`
    each):

    - ``dynopool/<instance>/alpha_h``, and ``scale_h`` = 1 / alpha;
    - ``dynopool/<instance>/grad_mean_h``, ``grad_std_h``, ``grad_snr_h``: mean and sample standard
      deviation of alpha's gradient, as the optimizer gets it, over its steps since the last log
      line, and |mean| / std. Noise alone gives about 0.8 / sqrt(steps): a ratio that stays there
      says that the shape no longer learns, but wanders. A window with fewer than two steps goes on
      to the next line. A ShapeAdaptor, whose alpha is not a parameter, has none;
    - ``dynopool/input/size_h``, the training crop in pixels (``gmacs_shape`` if that is
      set), and ``dynopool/<instance>/size_h``, the rounded size of the features behind each
      DynOPool there, of an HRNet's ``stream0``, too. Omitted if the crop is not known, or if sizes
      depend on more than it (networks whose ``feature_sizes`` raises a ValueError);
    - ``dynopool/lr``, the learning rate of the alphas' parameter group.

    If the scales have a learner, gradient and lr are replaced by

    - ``dynopool/<instance>/slope_h``, ``slope_noise_h``: running mean of the loss's slope by
      log(scale), and its standard error; not before it is known, nor once the scales have settled.

    Attributes:
        hook: the run's `DynOPoolHook`, or None.

    Examples:
        >>> from types import SimpleNamespace
        >>> from mmengine.hooks import LoggerHook
        >>> from mmengine.logging import MessageHub
        >>> from mmengine.optim import OptimWrapper
        >>> from torch import nn, optim
        >>> from mmseg_dynopool.hooks import ShapeLogHook
        >>> from mmseg_dynopool.layers import DynOPool
        >>> model = nn.ModuleDict({'stream1': DynOPool(scale=(0.5, 0.25))})
        >>> runner = SimpleNamespace(
        ...     model=model, optim_wrapper=OptimWrapper(optim.SGD(model.parameters(), lr=0.01)),
        ...     hooks=[LoggerHook(interval=1)], message_hub=MessageHub('run'), train_dataloader=[0])
        >>> ShapeLogHook().after_train_iter(runner, 0)
        >>> print(runner.message_hub.get_scalar('train/dynopool/stream1/scale_w').current())
        0.25
    """

    priority = 42  # after DynOPoolHook, whose alphas count

    def __init__(self) -> None:
        self._gradients: GradientWindow | None = None
        self.hook: DynOPoolHook | None = None

    def before_train(self, runner: Runner) -> None:
        self.after_train(runner)
        pools = named_pools(runner)
        groups = groups_of(runner, pools)
        # With a learner they are zero, and without a logger nobody reads them.
        learns_so = self.hook is None or not self.hook.measures(unwrap(runner.model))
        if groups and learns_so and any(isinstance(hook, LoggerHook) for hook in runner.hooks):
            self._gradients = GradientWindow(groups[0][0],
                                             [pool.parameter for pool in pools.values()])

    def after_train(self, runner: Runner) -> None:
        if self._gradients is not None:
            self._gradients.remove()
            self._gradients = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
                          ) -> None:
        learner = self.hook and self.hook.learner
        logged = runner.message_hub.log_scalars
        if learner is not None and learner.settled:
            # Slopes are no longer known, and mmengine would repeat the last ones.
            of_cost = learner.cost and f'train/{learner.cost.name}_slope'
            for key in list(logged):
                shape = ShapeScalar.parse(key)
                if key == of_cost or (shape and shape.quantity.startswith('slope')):
                    del logged[key]

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None,
                         outputs: dict | None = None) -> None:
        if _is_line(runner, batch_idx) and (pools := named_pools(runner)):
            for key, value in self._shapes(runner, pools).items():
                runner.message_hub.update_scalar(f'train/{key}', value)

    def _shapes(self, runner: Runner, pools: dict[str, ResizingPool]) -> dict[str, float]:
        """The scalars of the shapes for a line."""
        learner = self.hook and self.hook.learner
        values = [torch.stack([pool.bounded_alpha().detach() for pool in pools.values()])]
        if self._gradients is not None and len(self._gradients) > 1:
            values += self._gradients.stack()
            self._gradients.clear()
        # One read from the device for all instances and steps.
        alphas, *gradients = torch.stack(values).tolist()
        scalars: dict[ShapeScalar, float] = {}
        for name, pair in zip(pools, alphas):
            for axis, alpha in zip('hw', pair):
                scalars[ShapeScalar(name, 'alpha', axis)] = alpha
                scalars[ShapeScalar(name, 'scale', axis)] = 1 / alpha
        for name, steps in zip(pools, zip(*gradients)):
            for axis, of_axis in zip('hw', zip(*steps)):
                noise = GradientNoise.of(of_axis)
                for key, value in noise._asdict().items() if noise else ():
                    if value is not None:
                        scalars[ShapeScalar(name, f'grad_{key}', axis)] = value
        scalars |= _size_scalars(unwrap(runner.model), pools, alphas,
                                 self.hook and self.hook.shape)
        if learner is not None and not learner.settled:
            short, slopes = short_names(learner.scales.pools), learner.slope_of()
            for name, pair in slopes.items():
                for axis, slope in zip('hw', pair):
                    if slope is not None:
                        scalars[ShapeScalar(short[name], 'slope', axis)] = slope.mean
                        scalars[ShapeScalar(short[name], 'slope_noise', axis)] = slope.noise
        logged = {scalar.key: value for scalar, value in scalars.items()}
        groups = groups_of(runner, pools)
        if groups and learner is None:
            logged[LEARNING_RATE] = groups[0][1]['lr']
        return logged


def cost_scalars(hook: DynOPoolHook, runner: Runner) -> dict[str, Any]:
    """The scalars of the cost, at the scales with which an iteration begins."""
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


def _is_line(runner: Runner, batch_idx: int) -> bool:
    """Whether a LoggerHook, which runs later, writes a line in this iteration."""
    loader = runner.train_dataloader
    return any(
        hook.every_n_inner_iters(batch_idx, hook.interval) or
        (hook.end_of_epoch(loader, batch_idx) and
         (not hook.ignore_last or len(loader) <= hook.interval))
        for hook in runner.hooks if isinstance(hook, LoggerHook))


def _size_scalars(model: BaseModel, pools: dict[str, ResizingPool],
                  alphas: Sequence[Sequence[float]], shape: Sequence[int] | None
                  ) -> dict[ShapeScalar, float]:
    shape = shape or getattr(getattr(model, 'data_preprocessor', None), 'size', None)
    backbone = getattr(model, 'backbone', None)
    if shape is None or backbone is None or not hasattr(backbone, 'feature_sizes'):
        return {}
    # The backbone knows its instances by names of its own.
    logged = {id(pool): (name, alpha) for (name, pool), alpha in zip(pools.items(), alphas)}
    named = {name: logged[id(pool)] if id(pool) in logged else (name, pool.read_alpha())
             for name, pool in backbone.dynopools.items()}
    try:
        sizes = backbone.feature_sizes(shape, {name: alpha for name, (_, alpha) in named.items()})
    except ValueError:
        return {}
    sizes = {named[name][0] if name in named else name: size for name, size in sizes.items()}
    return {ShapeScalar(name, 'size', axis): int(value)
            for name, size in dict(input=shape, **sizes).items()
            for axis, value in zip('hw', size)}
