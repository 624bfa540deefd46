"""DynOPool as a module: with a learned scale, and with a constant one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmseg_dynopool.ops import dynopool2d
from mmseg_dynopool.ops.pooling import check_anchor
from mmseg_dynopool.ops.size import is_number

from .pool import ResizingPool

torch.fx.wrap('dynopool2d')  # sizes are numbers: in a graph of torch.fx it is one operator


class DynOPool(ResizingPool):
    """Pooling with a learned scale factor, separate for height and width (paper, section 4.1).

    The parameter ``alpha = 1 / scale`` is never written by ``forward``, so one instance may run
    many times in one forward pass. Outside its bounds it is clamped for the computation, with a
    straight-through gradient, so that it can return.

    Args:
        scale: initial scale factor, one number or ``(scale_h, scale_w)``.
        bounds: lowest and highest scale factor. The upper bound of 1 keeps the feature maps, and
            with them memory, from growing behind the pooling.
        anchor: reference point of alpha's gradient, see
            [`dynopool2d`][mmseg_dynopool.ops.dynopool2d].
        window: window of ``anchor='local'`` in output cells.

    Attributes:
        alpha: parameter of shape ``(2,)``, ``(1 / scale_h, 1 / scale_w)``.
        initial_scale: the scale at construction, ``(scale_h, scale_w)``.

    Raises:
        ValueError: an option is malformed or ``scale`` lies outside ``bounds``.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.layers import DynOPool
        >>> pool = DynOPool(scale=(0.5, 0.25))
        >>> pool(torch.rand(1, 8, 64, 64)).shape
        torch.Size([1, 8, 32, 16])
        >>> pool.alpha.tolist()
        [2.0, 4.0]
    """

    # Each of a cell's four queries is a weighted sum of four pixels (supplement, section 3).
    macs_per_value = 16

    def __init__(self,
                 scale: float | Sequence[float] = 0.5,
                 bounds: Sequence[float] = (0.125, 1.0),
                 anchor: str = 'local',
                 window: float = 8):
        super().__init__()
        check_anchor(anchor, window)
        self.bounds = check_bounds(bounds)
        self.initial_scale = check_scale(scale, self.bounds)
        self.anchor = anchor
        self.window = window
        self.alpha = nn.Parameter(torch.tensor([1 / s for s in self.initial_scale]))

    @property
    def parameter(self) -> nn.Parameter:
        return self.alpha

    def bounded_alpha(self) -> Tensor:
        """Alpha inside its bounds, with a straight-through gradient; shape ``(2,)``."""
        if self.trial_alpha is not None:
            return self.trial_alpha + (self.alpha - self.alpha.detach())
        low, high = self.alpha_bounds
        # In this order: the value is the clamped one exactly, however far out alpha is.
        return self.alpha.detach().clamp(low, high) + (self.alpha - self.alpha.detach())

    @torch.no_grad()
    def set_alpha_(self, alpha: Sequence[float] | Tensor) -> None:
        self.alpha.copy_(torch.as_tensor(alpha))

    @torch.no_grad()
    def project_(self) -> None:
        self.alpha.clamp_(*self.alpha_bounds)

    def freeze(self) -> 'FixedDynOPool':
        if not self.can_be_constant:  # a subclass with values of its own
            super().freeze()
        fixed = FixedDynOPool.at_alpha(self.read_alpha())
        fixed.stock_scale = self.stock_scale
        return fixed

    def forward(self,
                input: Tensor,
                output_size: Sequence[int] | None = None,
                reduce: str = 'max') -> Tensor:
        """Pool ``(N, C, H_in, W_in)`` to ``(N, C, H_out, W_out)``.

        Args:
            input: floating point tensor.
            output_size: ``(H_out, W_out)`` if the caller knows it already.
            reduce: ``'max'`` or ``'mean'`` of a cell's queries.
        """
        # A learner moves the scales itself; zeros are for DDP, which waits for each gradient.
        anchor = self.anchor if self.trial_alpha is None else 'none'
        return dynopool2d(input, self.bounded_alpha(), output_size, anchor, self.window, reduce)

    def extra_repr(self) -> str:
        return (f'initial_scale={self.initial_scale}, bounds={self.bounds}, '
                f'anchor={self.anchor!r}, window={self.window}')


class FixedDynOPool(ResizingPool):
    """A [`DynOPool`][mmseg_dynopool.layers.DynOPool] with a constant scale and no parameter.

    Outputs and the input's gradient are the same, bit for bit, and nothing is read from a device:
    it can be exported for any input size. A ``state_dict`` holds the scale like a learned one;
    without it, as in a stock network's, the scale stays. There are no bounds: project a trained
    alpha before saving it.

    Args:
        scale: scale factor, one number or ``(scale_h, scale_w)``.

    Attributes:
        initial_scale: the scale as given, ``(scale_h, scale_w)``.

    Raises:
        ValueError: ``scale`` is not positive and finite.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.layers import FixedDynOPool
        >>> FixedDynOPool((0.5, 0.25))(torch.rand(1, 8, 64, 64)).shape
        torch.Size([1, 8, 32, 16])
    """

    learns = False
    macs_per_value = DynOPool.macs_per_value

    def __init__(self, scale: float | Sequence[float] = 0.5):
        super().__init__()
        self.initial_scale = check_scale(scale)
        self.set_scale_(self.initial_scale)

    @classmethod
    def at_alpha(cls, alpha: Sequence[float]) -> 'FixedDynOPool':
        """The pooling with exactly this alpha: ``1 / (1 / alpha)`` may differ by a rounding."""
        fixed = cls([1 / a for a in alpha])
        fixed.set_alpha_(alpha)
        return fixed

    @classmethod
    def with_cost_of(cls, pool: ResizingPool) -> 'FixedDynOPool':
        """A constant of the size and cost that ``pool`` has now, for counting; values differ."""
        fixed = cls.at_alpha(pool.read_alpha())
        fixed.initial_scale = pool.initial_scale
        fixed.stock_scale = pool.stock_scale
        fixed.macs_per_value = pool.macs_per_value
        return fixed

    def set_alpha_(self, alpha: Sequence[float] | Tensor) -> None:
        self._alpha: tuple[float, float] = float(alpha[0]), float(alpha[1])

    def set_scale_(self, scale: float | Sequence[float]) -> None:
        """Set the scale; alpha is rounded to single precision, as a learned one is."""
        self.set_alpha_(torch.tensor([1 / s for s in check_scale(scale)], device='cpu'))

    @property
    def alpha(self) -> Tensor:
        """A copy of the constant, ``(2,)``, in double precision and so exact.

        Not a buffer: buffers are cast, averaged and broadcast.
        """
        return torch.tensor(self._alpha, dtype=torch.float64, device='cpu')

    @alpha.setter
    def alpha(self, alpha: Tensor) -> None:  # for torch.func.functional_call
        self.set_alpha_(alpha)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f'{prefix}alpha'] = self.alpha

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        *_, unexpected_keys, error_msgs = args
        key = f'{prefix}alpha'
        if key not in state_dict:
            return
        if key in unexpected_keys:
            unexpected_keys.remove(key)
        alpha = state_dict[key].tolist()
        if state_dict[key].shape == (2, ) and all(is_number(a) and a > 0 for a in alpha):
            self.set_alpha_(alpha)
        else:
            error_msgs.append(f'{key} must be (alpha_h, alpha_w), positive and finite, got '
                              f'{alpha}; load another checkpoint')

    def bounded_alpha(self) -> Tensor:
        return torch.tensor(self._alpha)

    def read_alpha(self) -> tuple[float, float]:
        return self._alpha

    def freeze(self) -> 'FixedDynOPool':
        return self

    def forward(self,
                input: Tensor,
                output_size: Sequence[int] | None = None,
                reduce: str = 'max') -> Tensor:
        """As `DynOPool.forward`."""
        return dynopool2d(input, self._alpha, output_size, reduce=reduce)

    def extra_repr(self) -> str:
        return 'scale=({:.6g}, {:.6g})'.format(*(1 / a for a in self._alpha))


def check_bounds(bounds: Sequence[float]) -> tuple[float, float]:
    """The pair ``(lowest, highest)`` scale; a ValueError if it is malformed."""
    pair = tuple(bounds) if isinstance(bounds, Sequence) else ()
    if len(pair) != 2 or not all(map(is_number, pair)) or not 0 < pair[0] <= pair[1]:
        raise ValueError('bounds must be (lowest, highest) scale with 0 < lowest <= highest, '
                         f'got {bounds!r}')
    return float(pair[0]), float(pair[1])


def check_scale(scale: float | Sequence[float], bounds: tuple[float, float] = (1e-9, 1e9)
                ) -> tuple[float, float]:
    """``(scale_h, scale_w)`` from one number or a pair; a ValueError if it is malformed."""
    pair = tuple(scale) if isinstance(scale, Sequence) and not isinstance(scale, str) else (
        scale, scale)
    if len(pair) != 2 or not all(map(is_number, pair)):
        raise ValueError('scale must be a finite number or a pair (scale_h, scale_w), '
                         f'got {scale!r}')
    if min(pair) <= 0:
        raise ValueError(f'scale must be positive, got {scale!r}; 0.5 halves the sides')
    # A scale read from an alpha in single precision may be out of bounds by a rounding error.
    if min(pair) < bounds[0] * (1 - 1e-6) or max(pair) > bounds[1] * (1 + 1e-6):
        raise ValueError(f'scale {scale!r} lies outside bounds={bounds}; '
                         'change the scale or widen the bounds')
    return float(pair[0]), float(pair[1])
