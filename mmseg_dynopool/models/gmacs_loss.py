"""A loss that contains the cost of the network (main paper, the complexity term)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mmseg_dynopool.budget import GMACsBudget, LatencyBudget
from mmseg_dynopool.complexity import ComplexityModel, GMACsCounter, probe_complexity
from mmseg_dynopool.complexity.count import check_shape
from mmseg_dynopool.latency import LatencyModel, fit_latency
from mmseg_dynopool.latency.fit import measure_again
from mmseg_dynopool.latency.model import Scales
from mmseg_dynopool.layers import ResizingPool, learned_pools
from mmseg_dynopool.layers.find import input_channels

from .converted import check_other_sizes
from .cost import forward_without_postprocessing, network_counter

if TYPE_CHECKING:  # what it is inherited beside
    from mmengine.model import BaseModel as _Model
else:
    _Model = object

PAPER_WEIGHT = 7e-5


class GMACsLoss(_Model):
    """Adds ``loss_gmacs = weight * GMACs`` to the losses of a segmentor or a classifier.

    To be inherited before the class of mmseg or mmpretrain that it adds to.

    GMACs are those of backbone and heads (without auxiliary ones) at the training crop and the
    current scales, in units of 1e9. The weight is fixed (``gmacs_weight``, the paper's lambda) or
    adapted by `GMACsBudgetHook` to meet a budget (`gmacs_budget`). With a
    ``latency_budget`` it is ``loss_latency = weight * milliseconds`` instead, adapted by
    `LatencyBudgetHook`.

    Attributes:
        cost_weight: lambda, per 1e9 multiply-adds, or per millisecond with a latency budget; None
            with a budget before its hook sets it.
        gmacs_budget: the budget of multiply-adds, or None.
        latency_budget: the budget of time, or None; one of them at most.
        cost: the network's cost as a function of its alphas; None before `prepare_cost`.
        latency: its time as such a function; None where no hook has set it.
    """

    def __init__(self,
                 *args: Any,
                 dynopool: dict | None = None,
                 gmacs_weight: float | None = None,
                 gmacs_budget: dict | None = None,
                 latency_budget: dict | None = None,
                 gmacs_shape: Sequence[int] | None = None,
                 **kwargs: Any):
        steering = dict(gmacs_weight=gmacs_weight, gmacs_budget=gmacs_budget,
                        latency_budget=latency_budget)
        given = {name: value for name, value in steering.items() if value is not None}
        if len(given) > 1:
            raise ValueError(
                'give either ' + ' or '.join(f'{name} (got {value!r})'
                                             for name, value in given.items()) +
                f': a budget adapts the weight; {next(iter(given))}=None clears it')
        if not given:
            gmacs_weight = PAPER_WEIGHT
        if gmacs_weight is not None:
            _check_weight(gmacs_weight)
        if gmacs_shape is not None:
            check_shape(gmacs_shape, 'gmacs_shape')
        if dynopool is not None:
            kwargs['backbone'] = dict(type='DynOPoolBackbone', backbone=kwargs['backbone'],
                                      dynopool=dynopool)
        super().__init__(*args, **kwargs)
        self.cost_weight = gmacs_weight
        self.gmacs_budget: GMACsBudget | None = None
        self.latency_budget: LatencyBudget | None = None
        if gmacs_budget is not None:
            self.gmacs_budget = GMACsBudget.from_options(gmacs_budget)
        if latency_budget is not None:
            self.latency_budget = LatencyBudget.from_options(latency_budget)
        self.gmacs_shape = gmacs_shape
        self.cost: ComplexityModel | None = None
        self.latency: LatencyModel | None = None
        if not self.pools():
            raise ValueError(
                f'{type(self).__name__} needs a network with DynOPools, but backbone '
                f'{type(self.backbone).__name__} holds none that learns; set '
                "model.dynopool=dict(rule='before') to convert it, or "
                "model.backbone.type='DynOPoolHRNet', or use the stock network")
        if dynopool is not None:
            check_other_sizes(self)

    def pools(self) -> dict[str, ResizingPool]:
        """The instances that learn, by their full names.

        Looked up each time: what wraps the model may have replaced its parameters.
        """
        return learned_pools(self)

    @property
    def counted_shape(self) -> tuple[int, int] | None:
        """Input size ``(H, W)`` at which GMACs count; None before the first batch names it."""
        shape = (self.gmacs_shape or getattr(self.data_preprocessor, 'size', None)
                 or (self.cost and self.cost.shape))
        return tuple(shape) if shape else None

    def complexity(self, shape: Sequence[int] | None = None) -> ComplexityModel:
        """The network's cost as a function of its alphas.

        Args:
            shape: input size `(H, W)`; default `counted_shape`.

        Raises:
            ValueError: no size is known.
        """
        return probe_complexity(self, self._known_shape(shape), input_channels(self),
                                forward_without_postprocessing)

    def prepare_cost(self, shape: Sequence[int] | None = None) -> None:
        """Set `cost`, which the loss uses, to `complexity`.

        `loss` does it at the first batch. Call it before FSDP2 shards the network, which
        cannot be probed afterwards.
        """
        self.cost = self.complexity(shape)

    def gmacs_counter(self, shape: Sequence[int] | None = None) -> GMACsCounter:
        """Counts GMACs operator by operator, rounded sizes, at any alphas; see `complexity`.
        """
        return network_counter(self, self._known_shape(shape))

    def count_gmacs(self, shape: Sequence[int] | None = None) -> float:
        """GMACs at the current sizes; see `gmacs_counter`."""
        return self.gmacs_counter(shape).gmacs()

    def find_latency(self) -> LatencyModel:
        """The latency model of the budget: its file's, else measured on the network's device.

        Raises:
            ValueError: the file cannot be read, or is of another network or shape.
        """
        budget = self.latency_budget
        assert budget is not None  # its hook alone asks
        if budget.model is None:
            return fit_latency(self, self._known_shape(budget.shape), input_channels(self),
                               forward_without_postprocessing)
        found = LatencyModel.load(budget.model)
        if budget.shape is not None and tuple(budget.shape) != found.shape:
            raise ValueError(f'latency_budget shape={tuple(budget.shape)}, but the model '
                             f'{budget.model!r} was measured at {found.shape}; leave shape out, '
                             'or measure at this one with tools/latency.py')
        return found.at_scales_of(self.complexity(found.shape))

    def latency_counter(self) -> Callable[[Mapping[str, Sequence[float]]], float]:
        """Milliseconds by `latency` as a function of alphas, rounded sizes."""
        assert self.latency is not None
        return self.latency.counted(self.gmacs_counter(self.latency.shape),
                                    self.complexity(self.latency.shape))

    def measure_ms(self, scales: Scales) -> float:
        """Time the network at `{instance: (scale_h, scale_w)}`, see `measure_again`."""
        assert self.latency is not None
        return measure_again(self.latency, self, scales, input_channels(self),
                             forward_without_postprocessing)[0]

    def loss(self, inputs: Tensor, data_samples: Sequence) -> dict[str, Tensor]:
        """Losses of the task and of the cost, and the cost itself.

        ``loss_gmacs``, ``gmacs`` and ``gmacs_ratio``, the cost relative to the start of training;
        with a ``gmacs_budget`` also ``gmacs_lambda``, the current weight. With a
        ``latency_budget`` instead ``loss_latency``, ``latency_ms``, ``latency_ratio`` and
        ``latency_lambda`` beside ``gmacs`` and ``gmacs_ratio``.

        Args:
            inputs: normalized images ``(N, 3, H, W)``.
            data_samples: their labels, as mmseg and mmpretrain have them.

        Raises:
            ValueError: there is a budget, and no hook that adapts the weight.
        """
        if self.cost_weight is None:
            budget = self.gmacs_budget or self.latency_budget
            assert budget is not None  # else the weight is a number
            raise ValueError(f'{budget.option} needs the hook that adapts the weight: set '
                             "custom_hooks=[dict(type='DynOPoolHook')]")
        losses = super().loss(inputs, data_samples)
        if self.cost is None:
            self.prepare_cost(self.counted_shape or inputs.shape[-2:])
        assert self.cost is not None
        alphas = {name: pool.bounded_alpha() for name, pool in self.pools().items()}
        gmacs = self.cost.gmacs(alphas)
        losses['gmacs'] = gmacs.detach().float()
        losses['gmacs_ratio'] = losses['gmacs'] / self.cost.initial_gmacs
        if self.latency_budget is None:
            losses['loss_gmacs'] = (self.cost_weight * gmacs).float()
            if self.gmacs_budget is not None:
                losses['gmacs_lambda'] = losses['gmacs'].new_tensor(self.cost_weight)
        else:
            assert self.latency is not None  # set by the hook that sets the weight
            ms = self.latency.milliseconds(alphas)
            losses['loss_latency'] = (self.cost_weight * ms).float()
            losses['latency_ms'] = ms.detach().float()
            losses['latency_ratio'] = losses['latency_ms'] / self.latency.initial_ms
            losses['latency_lambda'] = losses['latency_ms'].new_tensor(self.cost_weight)
        return losses

    def _known_shape(self, shape: Sequence[int] | None) -> tuple[int, ...]:
        shape = shape or self.counted_shape
        if shape is None:
            raise ValueError('the size at which GMACs count is not known; set '
                             'model.gmacs_shape=(H, W) or data_preprocessor.size, or the shape '
                             'of a latency_budget')
        return tuple(shape)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        # Version 0.1 kept a budget's controller among the weights; its hook reads it.
        for key in [key for key in state_dict if key.startswith(f'{prefix}gmacs_budget.')]:
            del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check_weight(weight: object) -> None:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not (
            math.isfinite(weight) and weight >= 0):
        raise ValueError(f'gmacs_weight must be a finite number >= 0, got {weight!r}; '
                         '0 leaves the cost out of the loss')
