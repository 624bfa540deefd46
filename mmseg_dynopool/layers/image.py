"""The image's own size as the first level: learned, and constant."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mmseg_dynopool.ops import aligned_size, image_resize2d
from mmseg_dynopool.ops.pooling import with_zero_gradient
from mmseg_dynopool.ops.size import check_whole

from .dynopool import DynOPool, FixedDynOPool, check_bounds
from .find import all_pools
from .pool import IMAGE, ResizingPool

DOES_NOT_LEARN = (
    "the image's scale does not learn, as weights that read the image are frozen: their features "
    'would move with it. Let them learn (frozen_stages=-1), or give the scale, such as '
    'scale=dict(image=0.7), and learn=dict(image=False)')


class _Resize(ResizingPool):
    """What `ImageResize` and `FixedImageResize` share."""

    stock_scale = (1.0, 1.0)
    # A bilinear interpolation that reads all pixels of a cell; negligible in any network.
    macs_per_value = 4
    multiple: int

    def size_at(self, size: Sequence[int], alpha: Sequence[float]) -> tuple[int, int]:
        return aligned_size(size, alpha, self.multiple)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None,
                reduce: str = 'max') -> Tensor:
        """Resize an image ``(N, C, H_in, W_in)``; ``reduce`` is ignored."""
        if output_size is None:
            output_size = self.output_size(input.shape[-2:])
        return image_resize2d(input, (1.0, 1.0), self.multiple, output_size)


class ImageResize(_Resize, DynOPool):
    """Resizes the image by a learned scale, to sizes that the strides behind it divide.

    At scale 1, the default, it does nothing. The scale has no gradient of its own: a
    [`ScaleLearner`][mmseg_dynopool.learning.ScaleLearner] moves it, by measured losses.

    Args:
        scale: initial scale factor, one number or ``(scale_h, scale_w)``.
        bounds: lowest and highest scale factor, with 1 between them.
        multiple: pixels to whose multiples the resized image's sides are rounded.
        tied: whether both axes share one scale, as beside a `ShapeAdaptor`.

    Raises:
        ValueError: an option is malformed.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.layers import ImageResize
        >>> ImageResize((0.7, 1.0), multiple=4)(torch.rand(1, 3, 128, 96)).shape
        torch.Size([1, 3, 88, 96])
    """

    def __init__(self, scale: float | Sequence[float] = 1.0,
                 bounds: Sequence[float] = (0.25, 4.0), multiple: int = 1, tied: bool = False):
        low, high = check_bounds(bounds)
        if not low <= 1 <= high:
            raise ValueError(f"the bounds of the image's scale must hold 1, got {bounds!r}")
        super().__init__(scale, bounds)
        check_whole('multiple', multiple, 'pixels')
        self.multiple = multiple
        self.tied = tied
        if tied and self.initial_scale[0] != self.initial_scale[1]:
            raise ValueError("the image's scale must be one for both axes beside ShapeAdaptors, "
                             f'got {scale!r}')

    def freeze(self) -> 'FixedImageResize':
        fixed = FixedImageResize(self.initial_scale, self.multiple)
        fixed.set_alpha_(self.read_alpha())
        return fixed

    def for_counting(self) -> 'FixedImageResize':
        return self.freeze()

    def extra_repr(self) -> str:
        return (f'initial_scale={self.initial_scale}, bounds={self.bounds}, '
                f'multiple={self.multiple}' + (', tied=True' if self.tied else ''))


class FixedImageResize(_Resize, FixedDynOPool):
    """`ImageResize` with a constant scale.

    Args:
        scale: scale factor, one number or ``(scale_h, scale_w)``.
        multiple: see `ImageResize`.

    Raises:
        ValueError: an argument is malformed.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.layers.image import FixedImageResize
        >>> FixedImageResize(0.5)(torch.rand(1, 3, 64, 96)).shape
        torch.Size([1, 3, 32, 48])
    """

    def __init__(self, scale: float | Sequence[float] = 1.0, multiple: int = 1):
        super().__init__(scale)
        check_whole('multiple', multiple, 'pixels')
        self.multiple = multiple

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, multiple={self.multiple}'


def image_levels(model: nn.Module) -> dict[str, ImageResize | FixedImageResize]:
    """The levels that resize the image of a network, or of its parts, by their dotted names.

    Those in front of inner layers, ``dynopools`` of other names, are left out.
    """
    return {name: pool for name, pool in all_pools(model).items()
            if isinstance(pool, ImageResize | FixedImageResize)
            and (name.split('.')[-2:-1] != ['dynopools'] or name.endswith(f'.{IMAGE}'))}


def add_zero_gradient(outputs: Any, resize: nn.Module) -> Any:
    """A network's outputs, whose backward pass gives the alpha of its `ImageResize` zeros.

    DDP waits for them; at the image itself they would cost the gradient of the first layer's input.
    """
    if not isinstance(resize, ImageResize) or not (
            torch.is_grad_enabled() and resize.alpha.requires_grad) or torch.jit.is_tracing():
        return outputs
    # At all outputs: a loss need not use each.
    return tree_map(lambda leaf: with_zero_gradient(leaf, resize.alpha) if isinstance(
        leaf, Tensor) and leaf.requires_grad else leaf, outputs)


def restore_size(outputs: Any, resized: Sequence[int], size: Sequence[int]) -> Any:
    """A network's outputs; those of the resized image's size, such as logits, get the image's own.

    ``outputs`` are tensors in any structure; only ``(N, C, H, W)`` and ``(N, H, W)`` change.
    """

    def restore(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.dim() not in (3, 4) or not _are_equal(
                leaf.shape[-2:], resized):
            return leaf
        maps = leaf if leaf.dim() == 4 else leaf[:, None]
        if leaf.is_floating_point():
            maps = F.interpolate(maps, (size[0], size[1]), mode='bilinear')
        else:  # labels
            maps = F.interpolate(maps.float(), (size[0], size[1]), mode='nearest-exact')
        return (maps if leaf.dim() == 4 else maps[:, 0]).to(leaf.dtype)

    return tree_map(restore, outputs)


def _are_equal(size: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two sizes are equal, in a trace for the traced image.

    Compiled code guards on the answer: it cannot know whether 2 * (n // 2) is always n.
    """
    if not torch.jit.is_tracing():
        return tuple(size) == tuple(other)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        return [int(n) for n in size] == [int(n) for n in other]
