"""Segmentors whose loss contains the cost of the network (main paper, the complexity term)."""

import math
from collections.abc import Sequence

import torch
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_dynopool.budget.controller import GMACsBudget, StepSize, step_size
from mmseg_dynopool.complexity import ComplexityModel, check_shape, probe_complexity
from mmseg_dynopool.layers import DynOPool, LearnedPool, input_channels, learned_pools

from .tensor_mode import count_segmentor_gmacs, tensor_mode

PAPER_WEIGHT = 7e-5


class _GMACsLoss:
    """Adds ``loss_gmacs = weight * GMACs`` to a segmentor's losses.

    GMACs are those of the network in tensor mode (without auxiliary heads) at the training crop
    and the scales of the moment, in units of 1e9. The weight is fixed (``gmacs_weight``, the
    paper's lambda) or adapted to meet a budget (``gmacs_budget``).
    """

    def __init__(self,
                 *args,
                 gmacs_weight: float | None = None,
                 gmacs_budget: dict | None = None,
                 gmacs_shape: Sequence[int] | None = None,
                 **kwargs):
        if gmacs_budget is not None and gmacs_weight is not None:
            raise ValueError(
                f'give either gmacs_weight (got {gmacs_weight!r}) or gmacs_budget (got '
                f'{gmacs_budget!r}): a budget adapts the weight; gmacs_weight=None clears it')
        weight = PAPER_WEIGHT if gmacs_weight is None else gmacs_weight
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not (
                math.isfinite(weight) and weight >= 0):
            raise ValueError(f'gmacs_weight must be a finite number >= 0, got {weight!r}; '
                             '0 leaves the cost out of the loss')
        if gmacs_shape is not None:
            check_shape(gmacs_shape, 'gmacs_shape')
        super().__init__(*args, **kwargs)
        self.gmacs_weight = weight
        self.gmacs_shape = gmacs_shape
        self._complexity = None
        if not self.pools():
            raise ValueError(
                f'{type(self).__name__} needs a network with DynOPools, but backbone '
                f'{type(self.backbone).__name__} holds none that learns; set '
                "model.backbone.type='DynOPoolHRNet', or use the stock segmentor")
        self.gmacs_budget = None
        if gmacs_budget is not None:
            _check_free(self.pools())
            self.gmacs_budget = GMACsBudget.from_options(gmacs_budget, len(self.pools()))
            self._controlled = False

    def pools(self) -> dict[str, LearnedPool]:
        """The DynOPool instances by their full names.

        Looked up each time: what wraps the model may have replaced its parameters.
        """
        return learned_pools(self)

    @property
    def counted_shape(self) -> tuple[int, int] | None:
        """Input size ``(H, W)`` at which GMACs count; None before the first batch names it."""
        known = self.known_shape() or (self._complexity and self._complexity.shape)
        return tuple(known) if known else None

    def complexity(self, shape: Sequence[int] | None = None) -> ComplexityModel:
        """The network's cost as a function of its alphas.

        Args:
            shape: input size ``(H, W)``; default ``gmacs_shape``, else the training crop. For
                the default the loss keeps the result: call this before FSDP2 shards the network,
                which cannot be probed afterwards.
        """
        known = shape or self.known_shape()
        if known is None:
            raise ValueError('the size at which GMACs count is not known; set '
                             'model.gmacs_shape=(H, W) or data_preprocessor.size')
        found = probe_complexity(self, known, input_channels(self), tensor_mode)
        if shape is None:
            self._complexity = found
        return found

    def count_gmacs(self, shape: Sequence[int] | None = None) -> float:
        """GMACs at the sizes of the moment, rounding included, counted operator by operator."""
        shape = shape or self.known_shape() or self._complexity.shape
        return count_segmentor_gmacs(self, shape)

    def loss(self, inputs: Tensor, data_samples) -> dict:
        """Losses of the segmentor, and ``loss_gmacs``, ``gmacs`` and ``gmacs_ratio``.

        ``gmacs_ratio`` is the cost relative to the start of training. With a budget,
        ``gmacs_lambda`` is the weight of the moment.
        """
        losses = super().loss(inputs, data_samples)
        if self._complexity is None:
            self._complexity = self.complexity(self.known_shape() or inputs.shape[-2:])
        gmacs = self._complexity.gmacs({n: p.bounded_alpha() for n, p in self.pools().items()})
        weight = self.gmacs_weight
        if self.gmacs_budget is not None:
            if not self._controlled:
                raise ValueError('gmacs_budget needs the hook that adapts the weight: set '
                                 "custom_hooks=[dict(type='DynOPoolHook')]")
            weight = self.gmacs_budget.multiplier.clone()
            losses['gmacs_lambda'] = weight.float()
        losses['loss_gmacs'] = (weight * gmacs).float()
        losses['gmacs'] = gmacs.detach().float()
        losses['gmacs_ratio'] = losses['gmacs'] / self._complexity.initial_gmacs
        return losses

    def start_budget(self) -> None:
        """Check that the budget can be met.

        Raises:
            ValueError: the target is outside of what the bounds allow.
        """
        self.complexity()
        costs = []
        for limit in self._alpha_limits():
            costs.append(self._complexity.gmacs(dict(zip(self.pools(), limit))).item())
        self.gmacs_budget.check_reachable(self._complexity.initial_gmacs, costs[1], costs[0])
        self._controlled = True

    def step_budget(self, optimizer: torch.optim.Optimizer, done: int, iterations: int) -> None:
        """Adapt the weight, or keep the settled alphas. Called after each optimizer step."""
        budget, pools = self.gmacs_budget, self.pools()
        if not budget.settled and done < budget.settle * iterations:
            cost, slope = self._slope()
            # An alpha that stands at a bound answers only to a push away from it.
            wanted = budget.wanted_gmacs(self._complexity.initial_gmacs)
            alphas = torch.stack([p.alpha.detach().cpu() for p in pools.values()])
            low, high = self._alpha_limits()
            slope = slope * ((alphas > low) if cost < wanted else (alphas < high))
            steps = [step_size(optimizer, p.alpha) if p.alpha.requires_grad else
                     StepSize(0.0, 1.0, False) for p in pools.values()]
            distance = torch.tensor([s.distance for s in steps], dtype=slope.dtype)
            response = cost * (slope.square() * distance.view(-1, 1)).sum().item()
            budget.step(done / iterations, iterations, cost, self._complexity.initial_gmacs,
                        response, max(s.inertia for s in steps),
                        any(s.normalized for s in steps))
            return
        if not budget.settled:
            self._settle()
        for pool, alpha in zip(pools.values(), budget.settled_alphas):
            with torch.no_grad():
                pool.alpha.copy_(alpha)

    def _settle(self) -> None:
        pools = self.pools()
        alphas = torch.stack([p.alpha.detach().cpu() for p in pools.values()])

        @torch.no_grad()
        def count(candidate):
            for pool, alpha in zip(pools.values(), candidate):
                pool.alpha.copy_(alpha)
            return self.count_gmacs()

        self.gmacs_budget.settle_alphas(
            alphas, self._slope()[1].float(), self._alpha_limits(), count,
            self.gmacs_budget.wanted_gmacs(self._complexity.initial_gmacs))

    def _slope(self) -> tuple[float, Tensor]:
        """GMACs, and the gradient of their logarithm by the alphas, ``(pools, 2)``, on the CPU."""
        pools = self.pools()
        alphas = [p.alpha.detach().cpu().double().requires_grad_() for p in pools.values()]
        cost = self._complexity.gmacs(dict(zip(pools, alphas)))
        slope = torch.stack(torch.autograd.grad(cost.log(), alphas))
        return cost.item(), slope

    def _alpha_limits(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest alphas, ``(pools, 2)``; a frozen alpha has one value."""
        limits = []
        for pool in self.pools().values():
            low, high = pool.alpha_bounds
            alpha = pool.alpha.detach().cpu()
            free = pool.alpha.requires_grad
            limits.append(torch.stack([torch.full((2, ), low) if free else alpha,
                                       torch.full((2, ), high) if free else alpha]))
        return torch.stack(limits, 1).unbind()

    def known_shape(self) -> Sequence[int] | None:
        """Size ``(H, W)`` at which GMACs count, or None: then that of the first batch."""
        return self.gmacs_shape or getattr(self.data_preprocessor, 'size', None)


def _check_free(pools: dict[str, LearnedPool]) -> None:
    """Check that the budget can move every alpha by itself."""
    for name, pool in pools.items():
        if not isinstance(pool, DynOPool):
            raise ValueError(f'gmacs_budget takes DynOPools, and {name} is a '
                             f'{type(pool).__name__}, whose alpha is no parameter; use '
                             'gmacs_weight')


@MODELS.register_module()
class DynOPoolEncoderDecoder(_GMACsLoss, EncoderDecoder):
    """mmseg's ``EncoderDecoder`` with the cost of the learned resolutions in its loss.

    Args:
        *args, **kwargs: the arguments of ``EncoderDecoder``.
        gmacs_weight: lambda of the paper, per 1e9 multiply-adds; default 7e-5.
        gmacs_budget: instead, ``dict(target=0.6)`` (ratio to the start) or
            ``dict(target_gmacs=100.)``: the weight is adapted so that the network ends at this
            cost; for the other options see :class:`GMACsBudget`.
        gmacs_shape: input size ``(H, W)`` at which GMACs count; default: the data
            preprocessor's ``size``, else the size of the first training batch.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.
    """


@MODELS.register_module()
class DynOPoolCascadeEncoderDecoder(_GMACsLoss, CascadeEncoderDecoder):
    """mmseg's ``CascadeEncoderDecoder`` (e.g. HRNet+OCR) with the cost in its loss.

    Args:
        *args, **kwargs: the arguments of ``CascadeEncoderDecoder``.
        gmacs_weight, gmacs_budget, gmacs_shape: see :class:`DynOPoolEncoderDecoder`.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.
    """
