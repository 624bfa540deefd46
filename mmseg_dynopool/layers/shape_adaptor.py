"""Shape Adaptor as a module: the baseline that the supplement compares DynOPool with."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmseg_dynopool.ops import shape_adaptor2d
from mmseg_dynopool.ops.pooling import check_reduce, with_zero_gradient
from mmseg_dynopool.ops.shape_adaptor import check_pooling, check_ratios, shape_adaptor_alpha

from .dynopool import check_scale
from .pool import ResizingPool

torch.fx.wrap('shape_adaptor2d')  # as dynopool2d

# Logits beyond this change the scale by less than a millionth of ``r2 - r1``.
_STEEPEST = 14.0


class ShapeAdaptor(ResizingPool):
    """Learned resizing between two branches of pre-defined ratios (Liu et al., ECCV 2020).

    The parameter is one number for both axes: the mixing weight is ``w = sigmoid(logit)``, the
    scale ``s = r1 + (r2 - r1) * w`` lies always between the ratios, and `forward` gives
    [`shape_adaptor2d`][mmseg_dynopool.ops.shape_adaptor2d]. It takes the place of a `DynOPool`.

    Args:
        scale: initial scale factor, one number, or two equal ones.
        ratios: ``(r1, r2)``. The authors' (0.5, 1.0) never reach 0.5 itself, where ``w`` is 0:
            a network that is to start at the stock network's sizes needs a smaller ``r1``.
        pooling: ``'max'`` or ``'mean'``: how a branch pools.
        align_corners: how a branch is resized, as in `torch.nn.functional.interpolate`.

    Attributes:
        logit: scalar parameter; ``w = sigmoid(logit)``.
        bounds: the ratios.
        initial_scale: the scale at construction, ``(s, s)``.

    Raises:
        ValueError: an option is malformed, the scale is not one for both axes, or it does not
            lie between the ratios.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.layers import ShapeAdaptor
        >>> adaptor = ShapeAdaptor(scale=0.75, ratios=(0.5, 1.0))
        >>> adaptor(torch.rand(1, 8, 64, 64)).shape
        torch.Size([1, 8, 48, 48])
    """

    tied = True
    limits = 'ratios'
    reach = 2.0
    # Two bilinear reads of four pixels each, and the mix.
    macs_per_value = 10

    def __init__(self,
                 scale: float | Sequence[float] = 0.5,
                 ratios: Sequence[float] = (0.25, 1.0),
                 pooling: str = 'max',
                 align_corners: bool = False):
        super().__init__()
        check_pooling(pooling, align_corners)
        self.bounds = low, high = check_ratios(ratios)
        self.initial_scale = check_scale(scale)
        if self.initial_scale[0] != self.initial_scale[1]:
            raise ValueError(f'scale of a ShapeAdaptor must be one for both axes, got {scale!r}; '
                             'DynOPool has one for each')
        if not low < self.initial_scale[0] < high:
            raise ValueError(f'scale {scale!r} must lie between ratios={self.bounds}, which a '
                             'ShapeAdaptor never reaches; change the scale or widen the ratios')
        self.pooling = pooling
        self.align_corners = align_corners
        weight = (self.initial_scale[0] - low) / (high - low)
        self.logit = nn.Parameter(torch.tensor(math.log(weight / (1 - weight))))

    @property
    def weight(self) -> Tensor:
        """The mixing weight ``w`` in double, so that the scale is exact; a scalar."""
        if self.trial_alpha is not None:
            return self._weight_at(self.trial_alpha)
        return self.logit.double().sigmoid()

    def _weight_at(self, alpha: Sequence[float] | Tensor) -> Tensor:
        low, high = self.bounds
        return (1 / torch.as_tensor(alpha)[0].double() - low) / (high - low)

    @property
    def parameter(self) -> nn.Parameter:
        return self.logit

    @torch.no_grad()
    def set_alpha_(self, alpha: Sequence[float] | Tensor) -> None:
        self.logit.copy_(self._weight_at(alpha).logit().clamp(-_STEEPEST, _STEEPEST))

    def bounded_alpha(self) -> Tensor:
        """``(1 / s, 1 / s)``, with the gradient of ``logit``; within bounds by the sigmoid."""
        return shape_adaptor_alpha(self.weight, self.bounds)

    def forward(self,
                input: Tensor,
                output_size: Sequence[int] | None = None,
                reduce: str = 'max') -> Tensor:
        """Resize ``(N, C, H_in, W_in)`` to ``(N, C, H_out, W_out)``.

        Args:
            input: floating point tensor.
            output_size: ``(H_out, W_out)`` if the caller knows it already.
            reduce: ``'max'`` pools the branches by ``pooling``, ``'mean'`` by their average.
        """
        check_reduce(reduce)
        pooling = 'mean' if reduce == 'mean' else self.pooling
        output = shape_adaptor2d(input, self.weight, output_size, self.bounds, pooling,
                                 self.align_corners)
        if self.trial_alpha is None or not (
                torch.is_grad_enabled() and self.logit.requires_grad):
            return output
        return with_zero_gradient(output, self.logit)  # a learner moves the scale itself

    def extra_repr(self) -> str:
        return (f'initial_scale={self.initial_scale[0]}, ratios={self.bounds}, '
                f'pooling={self.pooling!r}, align_corners={self.align_corners}')
