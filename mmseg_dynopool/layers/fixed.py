"""DynOPool at a scale that no longer learns."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmseg_dynopool.ops import dynopool2d, pooled_size

from .dynopool import DynOPool
from .learned_pool import LearnedPool


class FixedDynOPool(nn.Module):
    """A :class:`DynOPool` whose scale is a constant: no parameter, nothing read from a device.

    Same outputs, bit for bit, and the same gradient of the input. So a network can be exported
    with it, whatever the size of its input.

    Args:
        scale: scale factor, one number or ``(scale_h, scale_w)``.

    Attributes:
        alpha: ``(1 / scale_h, 1 / scale_w)``, two numbers, rounded as a learned alpha is.
        initial_scale: the scale as given, ``(scale_h, scale_w)``.

    Raises:
        ValueError: ``scale`` is not positive and finite.

    Example:
        >>> FixedDynOPool((0.5, 0.25))(torch.rand(1, 8, 64, 64)).shape
        torch.Size([1, 8, 32, 16])
    """

    macs_per_value = DynOPool.macs_per_value

    def __init__(self, scale: float | Sequence[float] = 0.5):
        super().__init__()
        checked = DynOPool(scale, bounds=(1e-9, 1e9))
        self.initial_scale = checked.initial_scale
        self.alpha: tuple[float, float] = tuple(checked.alpha.tolist())

    @classmethod
    def from_learned(cls, pool: LearnedPool) -> 'FixedDynOPool':
        """The constant for the scale, inside its bounds, that ``pool`` has now."""
        alpha = tuple(pool.bounded_alpha().tolist())
        fixed = cls([1 / a for a in alpha])
        fixed.alpha = alpha  # in double precision, too, the value itself
        return fixed

    @property
    def scale(self) -> Tensor:
        """``(scale_h, scale_w)``, as of :class:`DynOPool`."""
        return 1 / torch.tensor(self.alpha)

    def output_size(self, size: Sequence[int]) -> tuple[int, int]:
        """``(H_out, W_out)`` for an input of ``size = (H_in, W_in)``."""
        return pooled_size(size, self.alpha)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Pool ``input`` of shape ``(N, C, H_in, W_in)`` to ``(N, C, H_out, W_out)``."""
        return dynopool2d(input, self.alpha, output_size)

    def extra_repr(self) -> str:
        return 'scale=({:.6g}, {:.6g})'.format(*(1 / a for a in self.alpha))
