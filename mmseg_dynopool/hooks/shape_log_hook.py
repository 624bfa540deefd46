"""Logs the learned shapes."""

from collections.abc import Iterable, Sequence

import torch
from mmengine.hooks import Hook, LoggerHook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmseg_dynopool.layers import ResizingPool, learned_pools
from mmseg_dynopool.layers.find import by_short_name, short_names
from mmseg_dynopool.learning import ScaleLearner
from mmseg_dynopool.models.whole_network import unwrap

from .gradient_window import GradientNoise, GradientWindow
from .optimizers import optimizers_of, parameter_groups
from .shape_scalar import LEARNING_RATE, ShapeScalar


@HOOKS.register_module()
class ShapeLogHook(Hook):
    """Logs the learned shapes in each line of the log and each of the visualizer's backends.

    [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] brings it along. Logged (`_h` and `_w`
    each):

    - ``dynopool/<instance>/alpha_h``, and ``scale_h`` = 1 / alpha;
    - ``dynopool/<instance>/grad_mean_h``, ``grad_std_h``, ``grad_snr_h``: mean and sample standard
      deviation of alpha's gradient over the optimizer's steps since the last log line, and
      |mean| / std. As the optimizer gets it, see `GradientWindow`. Noise alone gives about
      0.8 / sqrt(steps): a ratio that stays there says that the shape no longer learns, but
      wanders. A window with less than two steps goes on to the next line. A ShapeAdaptor, whose
      alpha is no parameter, has none;
    - ``dynopool/input/size_h``, the training crop in pixels (``gmacs_shape`` where that is
      set), and ``dynopool/<instance>/size_h``, the rounded size of the features behind each
      DynOPool there, of an HRNet's ``stream0``, too. Not where the crop is not known, or sizes
      depend on more than it (networks whose ``feature_sizes`` raises a ValueError);
    - ``dynopool/lr``, the learning rate of the alphas' parameter group.

    Where the scales have a learner, it has in the place of gradient and lr

    - ``dynopool/<instance>/slope_h``, ``slope_noise_h``: running mean of the loss's slope by
      log(scale), and its standard error; not before it is known, nor once the scales have settled.

    Attributes:
        learner: of the scales, told by `DynOPoolHook`.
        shape: ``(H, W)`` at which the cost counts, likewise.

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
        self.learner: ScaleLearner | None = None
        self.shape: Sequence[int] | None = None

    def before_train(self, runner: Runner) -> None:
        self.after_train(runner)
        pools = named_pools(runner)
        optimizers = optimizers_of(runner, pools)
        # Else nobody reads them.
        if optimizers and any(isinstance(hook, LoggerHook) for hook in runner.hooks):
            self._gradients = GradientWindow(optimizers[0],
                                             [pool.parameter for pool in pools.values()])

    def after_train(self, runner: Runner) -> None:
        if self._gradients is not None:
            self._gradients.remove()
            self._gradients = None

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None,
                         outputs: dict | None = None) -> None:
        if not _is_line(runner, batch_idx):
            return
        pools = named_pools(runner)
        if not pools:
            return
        learner = self.learner
        values = [torch.stack([pool.bounded_alpha().detach() for pool in pools.values()])]
        if learner is not None:
            self.after_train(runner)  # of the gradients, which are zero
        if self._gradients is not None and len(self._gradients) > 1:
            values += self._gradients.stack()
            self._gradients.clear()
        # One read from the device for all instances and steps.
        alphas, *gradients = torch.stack(values).tolist()
        scalars = _alpha_scalars(pools, alphas) | _gradient_scalars(pools, gradients)
        scalars |= _size_scalars(unwrap(runner.model), pools, alphas, self.shape)
        if learner is not None and not learner.settled:
            scalars |= _slope_scalars(learner)
        named = {scalar.key: value for scalar, value in scalars.items()}
        for group in parameter_groups(runner, pools)[:1] if learner is None else ():
            named[LEARNING_RATE] = group['lr']
        for key, value in named.items():
            runner.message_hub.update_scalar(f'train/{key}', value)


def named_pools(runner: Runner) -> dict[str, ResizingPool]:
    """The poolings of a runner's model that learn, by their names in logs."""
    return by_short_name(learned_pools(unwrap(runner.model)))


def _is_line(runner: Runner, batch_idx: int) -> bool:
    """Whether a LoggerHook, which runs later, writes a line in this iteration."""
    loader = runner.train_dataloader
    return any(
        hook.every_n_inner_iters(batch_idx, hook.interval) or
        (hook.end_of_epoch(loader, batch_idx) and
         (not hook.ignore_last or len(loader) <= hook.interval))
        for hook in runner.hooks if isinstance(hook, LoggerHook))


def _alpha_scalars(pools: Iterable[str], alphas: Sequence[Sequence[float]]
                   ) -> dict[ShapeScalar, float]:
    scalars = {}
    for name, pair in zip(pools, alphas):
        for axis, alpha in zip('hw', pair):
            scalars[ShapeScalar(name, 'alpha', axis)] = alpha
            scalars[ShapeScalar(name, 'scale', axis)] = 1 / alpha
    return scalars


def _gradient_scalars(pools: Iterable[str], gradients: Sequence[Sequence[Sequence[float]]]
                      ) -> dict[ShapeScalar, float]:
    """Of a window's gradients, ``(steps, pools, 2)``."""
    scalars = {}
    for name, steps in zip(pools, zip(*gradients)):
        for axis, values in zip('hw', zip(*steps)):
            noise = GradientNoise.of(values)
            for key in ('mean', 'std', 'snr') if noise else ():
                if getattr(noise, key) is not None:
                    scalars[ShapeScalar(name, f'grad_{key}', axis)] = getattr(noise, key)
    return scalars


def _slope_scalars(learner: ScaleLearner) -> dict[ShapeScalar, float]:
    slopes = learner.slope_of()
    return {ShapeScalar(short, quantity, axis): value
            for name, short in short_names(learner.scales.pools).items() if name in slopes
            for axis, slope in zip('hw', slopes[name]) if slope is not None
            for quantity, value in (('slope', slope.mean), ('slope_noise', slope.noise))}


def _size_scalars(model: BaseModel, pools: dict[str, ResizingPool],
                  alphas: Sequence[Sequence[float]], shape: Sequence[int] | None
                  ) -> dict[ShapeScalar, int]:
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
