"""A strided convolution's replacement: DynOPool, then the convolution with stride 1."""

from collections.abc import Sequence

from torch import Tensor, nn

from .fixed import FixedDynOPool
from .learned_pool import LearnedPool


class DynOPoolConv2d(nn.Conv2d):
    """``Conv_s -> Conv_1 after DynOPool_s`` (supplement, rule 3), with a shared DynOPool.

    Branches that must agree in resolution share one DynOPool. So the layer holds its instance
    without registering it: the network that owns it registers it once, and ``state_dict``,
    optimizers and moving averages see each alpha once. The weight has the shape and the name of
    the strided convolution's, whose checkpoints load.

    ``copy.deepcopy`` and pickling of the whole network keep the sharing.

    Args:
        pool: the instance, a :class:`DynOPool`, a :class:`FixedDynOPool` or a
            :class:`ShapeAdaptor`, owned by a parent module.
        in_channels, out_channels, kernel_size, **kwargs: as in :class:`torch.nn.Conv2d`,
            with the stride 1.

    Raises:
        ValueError: ``pool`` is no DynOPool, or a stride other than 1 is given.

    Example:
        >>> pool = DynOPool()
        >>> conv = DynOPoolConv2d(pool, 8, 16, 3, padding=1)
        >>> conv(torch.rand(1, 8, 32, 32)).shape
        torch.Size([1, 16, 16, 16])
    """

    def __init__(self, pool: LearnedPool | FixedDynOPool, in_channels: int, out_channels: int,
                 kernel_size, **kwargs):
        if not isinstance(pool, (LearnedPool, FixedDynOPool)):
            raise ValueError(f'pool must be a DynOPool, got {type(pool).__name__}')
        if kwargs.get('stride', 1) not in (1, (1, 1), [1, 1]):
            raise ValueError(f'stride must be 1, got {kwargs["stride"]!r}: the DynOPool '
                             'reduces the resolution')
        super().__init__(in_channels, out_channels, kernel_size, **kwargs)
        # A tuple hides the instance from nn.Module's registration.
        self._shared_pool = (pool, )

    @property
    def pool(self) -> LearnedPool | FixedDynOPool:
        """The shared instance."""
        return self._shared_pool[0]

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Pool, then convolve: ``(N, C_in, H, W) -> (N, C_out, H_out, W_out)``."""
        return super().forward(self.pool(input, output_size))
