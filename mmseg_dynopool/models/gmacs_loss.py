"""A loss that contains the cost of the network (main paper, the complexity term)."""

import math
from collections.abc import Sequence

from torch import Tensor

from mmseg_dynopool.budget import GMACsBudget
from mmseg_dynopool.complexity import (
    ComplexityModel,
    GMACsCounter,
    check_shape,
    probe_complexity,
)
from mmseg_dynopool.layers import ResizingPool, input_channels, learned_pools

from .converted import check_other_sizes
from .cost import forward_without_postprocessing, network_counter

PAPER_WEIGHT = 7e-5


class GMACsLoss:
    """Adds ``loss_gmacs = weight * GMACs`` to the losses of a segmentor or a classifier.

    To be inherited before the class of mmseg or mmpretrain that it adds to.

    GMACs are those of backbone and heads (without auxiliary ones) at the training crop and the
    current scales, in units of 1e9. The weight is fixed (``gmacs_weight``, the paper's lambda) or
    adapted by :class:`GMACsBudgetHook` to meet a budget (``gmacs_budget``).

    Attributes:
        gmacs_weight: lambda, per 1e9 multiply-adds; None with a budget before its hook sets it.
        gmacs_budget: the budget, or None.
        cost: the network's cost as a function of its alphas; None before :meth:`prepare_cost`.
    """

    def __init__(self,
                 *args,
                 dynopool: dict | None = None,
                 gmacs_weight: float | None = None,
                 gmacs_budget: dict | None = None,
                 gmacs_shape: Sequence[int] | None = None,
                 **kwargs):
        if gmacs_budget is not None and gmacs_weight is not None:
            raise ValueError(
                f'give either gmacs_weight (got {gmacs_weight!r}) or gmacs_budget (got '
                f'{gmacs_budget!r}): a budget adapts the weight; gmacs_weight=None clears it')
        if gmacs_weight is None and gmacs_budget is None:
            gmacs_weight = PAPER_WEIGHT
        if gmacs_weight is not None:
            _check_weight(gmacs_weight)
        if gmacs_shape is not None:
            check_shape(gmacs_shape, 'gmacs_shape')
        if dynopool is not None:
            kwargs['backbone'] = dict(type='DynOPoolBackbone', backbone=kwargs['backbone'],
                                      dynopool=dynopool)
        super().__init__(*args, **kwargs)
        self.gmacs_weight = gmacs_weight
        self.gmacs_budget = None if gmacs_budget is None else GMACsBudget.from_options(
            gmacs_budget)
        self.gmacs_shape = gmacs_shape
        self.cost: ComplexityModel | None = None
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
            shape: input size ``(H, W)``; default :attr:`counted_shape`.

        Raises:
            ValueError: no size is known.
        """
        return probe_complexity(self, self._known_shape(shape), input_channels(self),
                                forward_without_postprocessing)

    def prepare_cost(self, shape: Sequence[int] | None = None) -> None:
        """Set :attr:`cost`, which the loss uses, to :meth:`complexity`.

        :meth:`loss` does it at the first batch. Call it before FSDP2 shards the network, which
        cannot be probed afterwards.
        """
        self.cost = self.complexity(shape)

    def gmacs_counter(self, shape: Sequence[int] | None = None) -> GMACsCounter:
        """Counts GMACs operator by operator, rounded sizes, at any alphas; see :meth:`complexity`.
        """
        return network_counter(self, self._known_shape(shape))

    def count_gmacs(self, shape: Sequence[int] | None = None) -> float:
        """GMACs at the current sizes; see :meth:`gmacs_counter`."""
        return self.gmacs_counter(shape).gmacs()

    def loss(self, inputs: Tensor, data_samples) -> dict:
        """Losses of the task, and ``loss_gmacs``, ``gmacs`` and ``gmacs_ratio``.

        ``gmacs_ratio`` is the cost relative to the start of training. With a budget,
        ``gmacs_lambda`` is the current weight.

        Raises:
            ValueError: there is a budget, and no hook that adapts the weight.
        """
        if self.gmacs_weight is None:
            raise ValueError('gmacs_budget needs the hook that adapts the weight: set '
                             "custom_hooks=[dict(type='DynOPoolHook')]")
        losses = super().loss(inputs, data_samples)
        if self.cost is None:
            self.prepare_cost(self.counted_shape or inputs.shape[-2:])
        gmacs = self.cost.gmacs({n: p.bounded_alpha() for n, p in self.pools().items()})
        losses['loss_gmacs'] = (self.gmacs_weight * gmacs).float()
        losses['gmacs'] = gmacs.detach().float()
        losses['gmacs_ratio'] = losses['gmacs'] / self.cost.initial_gmacs
        if self.gmacs_budget is not None:
            losses['gmacs_lambda'] = losses['gmacs'].new_tensor(self.gmacs_weight)
        return losses

    def _known_shape(self, shape: Sequence[int] | None) -> tuple[int, int]:
        shape = shape or self.counted_shape
        if shape is None:
            raise ValueError('the size at which GMACs count is not known; set '
                             'model.gmacs_shape=(H, W) or data_preprocessor.size')
        return tuple(shape)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        # Version 0.1 kept a budget's controller among the weights; its hook reads it.
        for key in [key for key in state_dict if key.startswith(f'{prefix}gmacs_budget.')]:
            del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check_weight(weight) -> None:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not (
            math.isfinite(weight) and weight >= 0):
        raise ValueError(f'gmacs_weight must be a finite number >= 0, got {weight!r}; '
                         '0 leaves the cost out of the loss')
