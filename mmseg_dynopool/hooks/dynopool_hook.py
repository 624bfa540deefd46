"""The hook of a training whose network learns its scales."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from mmseg_dynopool.costs import ComplexityModel, Cost
from mmseg_dynopool.costs.options import CostOptions
from mmseg_dynopool.layers import ImageResize, learned_pools
from mmseg_dynopool.learning import BudgetKeeper, ScaleLearner, TwoPasses, add_cost_gradient
from mmseg_dynopool.learning.cost_gradient import PAPER_WEIGHT
from mmseg_dynopool.learning.learner import check_options, has_own_gradient
from mmseg_dynopool.models.whole_network import find_function, unwrap
from mmseg_dynopool.ops.size import check_whole

from .kept_checkpoints import KeptCheckpoints
from .runner import (
    groups_of,
    has_stepped,
    loss_on,
    loss_scale,
    named_pools,
    progress,
    shape_of,
)
from .shape_log_hook import ShapeLogHook, cost_scalars
from .steering import build, check_optimizer, keep_in_bounds, state_of_0_3, steer

STATE = 'dynopool'  # in checkpoints


@HOOKS.register_module()
class DynOPoolHook(Hook):
    """Makes the scales of a network learn, at a wanted cost.

    With a budget the scales have a learner of their own
    ([`ScaleLearner`][mmseg_dynopool.learning.ScaleLearner]); the training ends at the budget, and
    each ``EMAHook`` takes over the settled scales. With ``gmacs_weight``, the paper's lambda, they
    learn in the optimizer by the straight-through gradient, to which the cost's is added right
    before the step; give them an lr by ``paramwise_cfg``. With neither there is no cost, except in
    our segmentors and classifier, which then have version 0.3's lambda of 7e-5.

    Registers a [`ShapeLogHook`][mmseg_dynopool.hooks.ShapeLogHook], and logs the cost (``gmacs``,
    ``gmacs_ratio``; with a budget in time also ``latency_ms``, ``latency_ratio``), its plan
    (``gmacs_plan``), the loss's slope per 1 % of it (``gmacs_slope``) and, with ``gmacs_weight``,
    ``loss_gmacs``, which is part of ``loss``.

    Args:
        gmacs_budget: ``dict(target=0.6)``, or ``dict(target_gmacs=100.)``, see
            [`GMACsBudget`][mmseg_dynopool.costs.GMACsBudget].
        latency_budget: ``dict(target=0.7)``, or ``dict(target_ms=25.)``, see
            [`LatencyBudget`][mmseg_dynopool.costs.LatencyBudget].
        budget: of another kind of cost, ``dict(type=..., target=0.6)``; the type is a
            [`Budget`][mmseg_dynopool.costs.Budget] in mmengine's ``TASK_UTILS``.
        gmacs_weight: lambda, per 1e9 multiply-adds.
        gmacs_shape: input size ``(H, W)`` at which the cost counts; default: the data
            preprocessor's ``size``, else the size of the first training batch.
        gradient: ``'learner'`` or ``'straight_through'``; default: the learner with a budget, but
            for ShapeAdaptors only if the image's scale learns, too. ``dict(type=...)`` is the
            learner with another [`SlopeEstimator`][mmseg_dynopool.learning.SlopeEstimator] of
            ``TASK_UTILS``.
        travel: how far, in log(scale), a lasting slope of usual size takes a scale.
        every: steps of the optimizer from one estimate to the next; default: 2, or a thousandth of
            the training if that is more. An estimate is two forward passes, about two thirds of a
            training step.
        step: change of log(scale) for an estimate, up and down.
        jitter: standard deviation, in log(scale), of the scales at which the training's passes run
            until the budget's ``reach``, without one for half of the training; default: 0.1, or 0
            in trainings of fewer than 500 steps.
        smallest: rows and columns that a learned map keeps at least at the training crop.
        forward: ``forward(network, image)`` runs the model on an image ``(N, C, H, W)`` when its
            cost is counted or timed: a function, its dotted path, or its name in mmengine's
            ``FUNCTIONS``. Default: backbone and heads without postprocessing if they run, else
            ``predict``, else the backbone alone, with a warning.
        in_channels: of that image; default: as the data preprocessor's means or the first
            convolution tell.
        best_when_settled: with a budget, let ``save_best`` begin when the scales have settled; a
            best checkpoint from before would miss the budget.

    Attributes:
        learner: the `ScaleLearner`; None with the straight-through gradient.
        keeper: the `BudgetKeeper`, or None.
        cost: that of the budget or weight; None before it is known.
        gmacs: the multiply-adds, whatever the kind of budget; None before they are known.
        shape: input size ``(H, W)`` in pixels at which the cost counts.

    Raises:
        ValueError: the model holds no DynOPool, an argument is malformed, a budget is out of
            reach, or an alpha became NaN or infinite.

    Examples:
        >>> from mmseg.registry import HOOKS
        >>> import mmseg_dynopool
        >>> custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.5))]
        >>> HOOKS.build(custom_hooks[0]).options.budget.wanted(initial=150.0)
        75.0
    """

    # Before all others, which then see the network at its own scales, not at a pass's.
    priority = 'HIGHEST'

    def __init__(self, gmacs_budget: dict | None = None, latency_budget: dict | None = None,
                 budget: dict | None = None, gmacs_weight: float | None = None,
                 gmacs_shape: Sequence[int] | None = None, gradient: str | dict | None = None,
                 travel: float = 3.0, every: int | None = None, step: float = 0.1,
                 jitter: float | None = None, smallest: int = 2,
                 forward: str | Callable | None = None, in_channels: int | None = None,
                 best_when_settled: bool = True):
        if gradient not in (None, 'learner', 'straight_through') and not isinstance(gradient, dict):
            raise ValueError("gradient must be 'learner', 'straight_through' or the dict(type=...) "
                             f'of an estimator, got {gradient!r}')
        check_options(travel, every, jitter, smallest)
        if in_channels is not None:
            check_whole('in_channels', in_channels)
        self._given = dict(gmacs_weight=gmacs_weight, gmacs_budget=gmacs_budget,
                           latency_budget=latency_budget, gmacs_shape=gmacs_shape,
                           budget=build(budget))
        self.options = CostOptions.of(**self._given)
        self.gradient = gradient
        self.forward, self.in_channels = forward and find_function(forward), in_channels
        self.best_when_settled = best_when_settled
        self.travel, self.every, self.jitter, self.smallest = travel, every, jitter, smallest
        self.estimator = TwoPasses(step)
        self.learner: ScaleLearner | None = None
        self.keeper: BudgetKeeper | None = None
        self.cost: Cost | None = None
        self.shape: tuple[int, ...] | None = None
        self.gmacs: ComplexityModel | None = None
        self._loaded: dict | None = None
        self._handles: list[RemovableHandle] = []
        self._scalars: dict[str, Any] = {}
        self._kept = KeptCheckpoints()
        self._ready = False

    def before_run(self, runner: Runner) -> None:
        # Before the checkpoint is loaded, in which the state lies.
        model = unwrap(runner.model)
        for kind in (ShapeLogHook, _PassHook):
            if not any(isinstance(hook, kind) for hook in runner.hooks):
                runner.register_hook(kind())
        for hook in runner.hooks:
            if isinstance(hook, DynOPoolHook) and hook is not self:
                raise ValueError('there are several DynOPoolHooks, and each would move the scales; '
                                 'leave one in custom_hooks')
            if isinstance(hook, (ShapeLogHook, _PassHook)):
                hook.hook = self
        of_model = getattr(model, 'cost_options', {})
        twice = [name for name in of_model if self._given.get(name) is not None]
        if twice:
            raise ValueError(f'{", ".join(twice)} is given to the model and to DynOPoolHook; leave '
                             'it out at the model')
        self.options = CostOptions.of(**{**self._given, **of_model})

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._loaded = checkpoint.get(STATE) or state_of_0_3(checkpoint)
        check_optimizer(runner, checkpoint)

    def before_train(self, runner: Runner) -> None:
        model: Any = unwrap(runner.model)
        pools = named_pools(runner)
        if not pools:
            raise ValueError('DynOPoolHook: the model holds no DynOPool; set '
                             "model.dynopool=dict(rule='before') to convert its backbone, or "
                             "model.backbone.type='DynOPoolHRNet', or remove the hook")
        if runner.iter == 0:
            self._loaded = None  # load_from starts another run
        self._clean_up(runner)  # after a training that an error ended
        self._ready = False
        if hasattr(model, 'has_cost_hook'):
            model.has_cost_hook = True
        if hasattr(model, 'cost_options') and not self.has_cost:
            self.options = self.options._replace(weight=PAPER_WEIGHT)
            runner.logger.info(
                f'no cost is given: lambda is {PAPER_WEIGHT:g} as in version 0.3. Set '
                "DynOPoolHook's gmacs_budget=dict(target=0.5) for a budget, or gmacs_weight")
        if torch.backends.cudnn.benchmark:
            torch.backends.cudnn.benchmark = False
            runner.logger.info('cudnn_benchmark is switched off: sizes change in every step, and '
                               'cuDNN would search for its fastest kernels again and again')
        if not self.measures(model):
            if any(isinstance(p, ImageResize) and p.parameter.requires_grad
                   for p in pools.values()):
                raise ValueError(
                    "the image's scale learns by measured losses alone: give DynOPoolHook a "
                    "gmacs_budget, or gradient='learner', or leave the scale at 1 by "
                    'dynopool=dict(learn=dict(image=False)) or without image=True')
            groups = groups_of(runner, pools)
            for _, group in groups:
                if group.get('weight_decay', 0) > 0:
                    runner.logger.warning(
                        'weight decay %g acts on alpha and pulls the scales up; set paramwise_cfg='
                        "dict(custom_keys={'dynopools': dict(lr_mult=0.5, decay_mult=0.)})",
                        group['weight_decay'])
            if self.options.weight:
                self._handles = [optimizer.register_step_pre_hook(
                    lambda optimizer, args, kwargs: self._add_gradient(runner, optimizer))
                    for optimizer in {optimizer for optimizer, _ in groups}]
        preprocessor = getattr(model, 'data_preprocessor', None)
        shape = (self.options.shape or getattr(preprocessor, 'size', None)
                 or (self._loaded or {}).get('shape'))
        if shape is not None or not self.has_cost:
            self._prepare(runner, shape)

    def after_train(self, runner: Runner) -> None:
        if self.keeper is not None:
            self._kept.tell(runner, self.keeper, progress(runner))
        self._clean_up(runner)

    def _clean_up(self, runner: Runner) -> None:
        self._kept.release_best()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        model: Any = unwrap(runner.model)
        for pool in learned_pools(model).values():
            pool.trial_alpha = None
        if hasattr(model, 'has_cost_hook'):
            model.has_cost_hook = False

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
                          ) -> None:
        if not self._ready:
            self._prepare(runner, shape_of(unwrap(runner.model), data_batch))
        self._scalars = cost_scalars(self, runner)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None,
                         outputs: dict | None = None) -> None:
        if self.learner is not None:
            self.learner.end_pass()
        if isinstance(outputs, dict):  # which mmengine logs
            if 'loss' in outputs and 'loss_gmacs' in self._scalars:
                outputs['loss'] = outputs['loss'] + self._scalars['loss_gmacs']
            outputs.update(self._scalars)
        else:
            for key, value in self._scalars.items():
                runner.message_hub.update_scalar(f'train/{key}', value)
        keeper = self.keeper
        was_settled = keeper is not None and keeper.settled is not None
        if has_stepped(runner):
            if self.learner is not None:
                self.learner.advance()
            else:
                keep_in_bounds(runner, keeper)
        if keeper is not None and keeper.settled is not None:
            if not was_settled:
                runner.logger.info(keeper.describe_settled())
            self._kept.settle_averages(runner, keeper)

    def before_val_epoch(self, runner: Runner) -> None:
        if self.best_when_settled and self.keeper is not None and self.keeper.settled is None:
            self._kept.withhold_best(runner, self.keeper)

    def after_val(self, runner: Runner) -> None:
        self._kept.release_best()
        if self.keeper is not None:
            self._kept.note_best(runner, self.keeper)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self._ready and (self.cost is not None or self.learner is not None):
            state: dict[str, Any] = dict(shape=self.shape, best=self._kept.best,
                                         cost=self.cost and self.cost.state_dict())
            if self.learner is not None:
                state['learner'] = self.learner.state_dict()
            elif self.keeper is not None:
                state['keeper'] = self.keeper.state_dict()
            checkpoint[STATE] = state

    @property
    def has_cost(self) -> bool:
        """Whether the options name a cost."""
        return self.options.budget is not None or self.options.weight is not None

    def measures(self, model: nn.Module) -> bool:
        """Whether a learner moves the scales of a model, by measured losses."""
        if self.gradient is not None:
            return self.gradient != 'straight_through'
        return self.options.budget is not None and not has_own_gradient(
            pool for pool in learned_pools(model).values() if pool.parameter.requires_grad)

    def _prepare(self, runner: Runner, shape: Sequence[int] | None) -> None:
        """Make the cost known, and what steers it."""
        state = self._loaded or {}
        self._ready = True
        self.shape = tuple(shape) if shape else None
        self._kept.best = dict(state.get('best', {}))
        self.cost, self.gmacs, self.keeper, self.learner = steer(self, runner, self.shape, state)

    def _add_gradient(self, runner: Runner, optimizer: Optimizer) -> None:
        assert self.gmacs is not None and self.options.weight is not None
        held = {id(p) for group in optimizer.param_groups for p in group['params']}
        add_cost_gradient(unwrap(runner.model), self.gmacs, self.options.weight,
                          loss_scale(optimizer), held)


class _PassHook(Hook):
    """Measures and begins a learner's passes, after the hooks that time the loading of data."""

    priority = 'VERY_LOW'
    hook: DynOPoolHook

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
                          ) -> None:
        learner = self.hook.learner
        if learner is not None:
            learner.measure(loss_on(runner, data_batch))
            learner.begin_pass()
