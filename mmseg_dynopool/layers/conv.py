"""A strided convolution's replacement: DynOPool, then the convolution with stride 1."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .pool import ResizingPool


class DynOPoolConv2d(nn.Conv2d):
    """``Conv_s -> Conv_1 after DynOPool_s`` (supplement, rule 3).

    The weight keeps the strided convolution's name and shape, so its checkpoints load.

    Branches that must agree in resolution share one pooling. One module registers it, so that
    ``state_dict``, optimizers and moving averages see each alpha once; the others hold it with
    ``shared=True``, as a plain attribute. ``copy.deepcopy`` and pickling of the whole network keep
    the sharing.

    Args:
        pool: a [`ResizingPool`][mmseg_dynopool.layers.ResizingPool], such as a `DynOPool`.
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: of the convolution, one number or ``(height, width)``.
        shared: whether another module registers ``pool``.
        **kwargs: options of `torch.nn.Conv2d`; the stride is 1.

    Attributes:
        pool: the pooling.

    Raises:
        ValueError: ``pool`` is not a `ResizingPool`, or a stride other than 1 is given.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d
        >>> pool = DynOPool()
        >>> conv = DynOPoolConv2d(pool, 8, 16, 3, padding=1)
        >>> shortcut = DynOPoolConv2d(pool, 8, 16, 1, shared=True)
        >>> image = torch.rand(1, 8, 32, 32)
        >>> (conv(image) + shortcut(image)).shape
        torch.Size([1, 16, 16, 16])
    """

    def __init__(self, pool: ResizingPool, in_channels: int, out_channels: int,
                 kernel_size: int | tuple[int, int], shared: bool = False, **kwargs: Any):
        if not isinstance(pool, ResizingPool):
            raise ValueError('pool must be a DynOPool, FixedDynOPool or ShapeAdaptor, got '
                             f'{type(pool).__name__}')
        if kwargs.get('stride', 1) not in (1, (1, 1), [1, 1]):
            raise ValueError(f'stride must be 1, got {kwargs["stride"]!r}: the DynOPool '
                             'reduces the resolution')
        super().__init__(in_channels, out_channels, kernel_size, **kwargs)
        if shared:
            object.__setattr__(self, 'pool', pool)  # past nn.Module's registration
        else:
            self.pool = pool

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Pool, then convolve: ``(N, C_in, H, W) -> (N, C_out, H_out, W_out)``."""
        return super().forward(self.pool(input, output_size))
