"""What a network with learned sizes, its cost and its training need to know of a pooling."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmseg_dynopool.ops import pooled_size


class LearnedPool(nn.Module):
    """Base of the poolings that learn their scale.

    A subclass sets ``bounds`` and ``initial_scale``, and defines ``alpha``,
    :meth:`bounded_alpha`, :meth:`project_` and ``forward(input, output_size=None)``.

    Attributes:
        alpha: ``(1 / scale_h, 1 / scale_w)``, of shape ``(2,)``.
        bounds: lowest and highest scale factor.
        initial_scale: the scale at construction, ``(scale_h, scale_w)``.
        macs_per_value: multiply-adds of the pooling itself per value of its output.
    """

    bounds: tuple[float, float]
    initial_scale: tuple[float, float]
    macs_per_value: int

    @property
    def alpha_bounds(self) -> tuple[float, float]:
        """Lowest and highest alpha."""
        return 1 / self.bounds[1], 1 / self.bounds[0]

    @property
    def scale(self) -> Tensor:
        """Scale factors in use, ``(scale_h, scale_w)``, bounded, without a gradient."""
        return 1 / self.bounded_alpha().detach()

    def bounded_alpha(self) -> Tensor:
        """Alpha inside its bounds, with a gradient of the parameter; shape ``(2,)``."""
        raise NotImplementedError

    def output_size(self, size: Sequence[int]) -> tuple[int, int]:
        """``(H_out, W_out)`` for an input of ``size = (H_in, W_in)``; reads alpha."""
        return pooled_size(size, self.bounded_alpha().tolist())

    @torch.no_grad()
    def project_(self) -> None:
        """Move the parameter to where alpha is in its bounds. For use after an optimizer's step."""
        raise NotImplementedError
