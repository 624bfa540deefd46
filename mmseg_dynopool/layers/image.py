"""The image's own size as the first level: learned, and constant."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mmseg_dynopool.ops import aligned_size, image_resize2d
from mmseg_dynopool.ops.image_resize import with_zero_gradient
from mmseg_dynopool.ops.queries import sizes_match

from .dynopool import DynOPool, FixedDynOPool, check_bounds
from .find import all_pools
from .pool import ResizingPool
from .shape_adaptor import ShapeAdaptor

IMAGE = 'image'  # its name among a network's poolings
DOES_NOT_LEARN = (
    "the image's scale does not learn, as weights that read the image are frozen: their features "
    'would move with it. Let them learn (frozen_stages=-1), or give the scale, such as '
    'scale=dict(image=0.7), and learn=dict(image=False)')


class ImageResize(DynOPool):
    """Resizes the image by a learned scale, to sizes that strided layers behind it divide.

    At scale 1, where it begins, it does nothing at all. The scale has no gradient of its own: a
    [`ScaleLearner`][mmseg_dynopool.learning.ScaleLearner] moves it, by what it measures.

    Args:
        scale: initial scale factor, one number or ``(scale_h, scale_w)``.
        bounds: lowest and highest scale factor, 1 among them.
        multiple: of pixels, to which the resized image's sides are rounded.
        tied: whether both axes have one scale, as beside a `ShapeAdaptor`.

    Raises:
        ValueError: an option is malformed.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.layers import ImageResize
        >>> ImageResize((0.7, 1.0), multiple=4)(torch.rand(1, 3, 128, 96)).shape
        torch.Size([1, 3, 88, 96])
    """

    stock_scale = (1.0, 1.0)
    # Of a bilinear interpolation that reads all pixels of a cell; a hundredth of any network.
    macs_per_value = 4

    def __init__(self, scale: float | Sequence[float] = 1.0,
                 bounds: Sequence[float] = (0.25, 4.0), multiple: int = 1, tied: bool = False):
        low, high = check_bounds(bounds)
        if not low <= 1 <= high:
            raise ValueError(f"the bounds of the image's scale must hold 1, got {bounds!r}")
        super().__init__(scale, bounds)
        self.multiple = check_multiple(multiple)
        self.tied = tied
        if tied and self.initial_scale[0] != self.initial_scale[1]:
            raise ValueError("the image's scale must be one for both axes beside ShapeAdaptors, "
                             f'got {scale!r}')

    def size_at(self, size: Sequence[int], alpha: Sequence[float]) -> tuple[int, int]:
        return aligned_size(size, alpha, self.multiple)

    def freeze(self) -> 'FixedImageResize':
        return FixedImageResize.of(self)

    def for_counting(self) -> 'FixedImageResize':
        return FixedImageResize.of(self)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None,
                reduce: str = 'max') -> Tensor:
        """Resize an image ``(N, C, H_in, W_in)``; ``reduce`` is of no meaning here."""
        if output_size is None:
            output_size = self.output_size(input.shape[-2:])
        return image_resize2d(input, (1.0, 1.0), self.multiple, output_size)

    def extra_repr(self) -> str:
        return (f'initial_scale={self.initial_scale}, bounds={self.bounds}, '
                f'multiple={self.multiple}' + (', tied=True' if self.tied else ''))


class FixedImageResize(FixedDynOPool):
    """`ImageResize` with a constant scale.

    Args:
        scale: scale factor, one number or ``(scale_h, scale_w)``.
        multiple: as there.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.layers.image import FixedImageResize
        >>> FixedImageResize(0.5)(torch.rand(1, 3, 64, 96)).shape
        torch.Size([1, 3, 32, 48])
    """

    stock_scale = (1.0, 1.0)
    macs_per_value = ImageResize.macs_per_value

    def __init__(self, scale: float | Sequence[float] = 1.0, multiple: int = 1):
        super().__init__(scale)
        self.multiple = check_multiple(multiple)

    @classmethod
    def of(cls, learned: ImageResize) -> 'FixedImageResize':
        """The same at its current scale."""
        fixed = cls(learned.initial_scale, learned.multiple)
        fixed.set_alpha_(learned.read_alpha())
        return fixed

    def size_at(self, size: Sequence[int], alpha: Sequence[float]) -> tuple[int, int]:
        return aligned_size(size, alpha, self.multiple)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None,
                reduce: str = 'max') -> Tensor:
        """As `ImageResize.forward`."""
        return image_resize2d(input, self.read_alpha(), self.multiple, output_size)

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, multiple={self.multiple}'


def image_levels(model: nn.Module) -> dict[str, 'ImageResize | FixedImageResize']:
    """The levels that resize the image of a network, or of its parts, by their dotted names.

    Not those in front of inner layers, which are a network's ``dynopools`` of other names.
    """
    return {name: pool for name, pool in all_pools(model).items()
            if isinstance(pool, ImageResize | FixedImageResize)
            and (name.split('.')[-2:-1] != ['dynopools'] or name.endswith(f'.{IMAGE}'))}


def add_zero_gradient(outputs: Any, resize: nn.Module) -> Any:
    """A network's outputs; in their backward pass the alpha of its `ImageResize` gets zeros.

    DDP waits for one; at the image itself it would cost the gradient of the first layer's input.
    """
    if not isinstance(resize, ImageResize) or not (
            torch.is_grad_enabled() and resize.alpha.requires_grad) or torch.jit.is_tracing():
        return outputs
    # At all of them: a loss need not use each.
    return tree_map(lambda leaf: with_zero_gradient(leaf, resize.alpha) if isinstance(
        leaf, Tensor) and leaf.requires_grad else leaf, outputs)


def restore_size(outputs: Any, resized: Sequence[int], size: Sequence[int]) -> Any:
    """A network's outputs; what has its resized image's size, as logits do, gets the image's own.

    Args:
        outputs: tensors, of which ``(N, C, H, W)`` and ``(N, H, W)`` count, in any structure.
        resized: ``(H, W)`` of the resized image.
        size: ``(H, W)`` of the image itself.
    """

    def restore(leaf: Any) -> Any:
        # Compiled code is to ask here: of 2 * (n // 2) it cannot know that it is always n.
        if not isinstance(leaf, Tensor) or leaf.dim() not in (3, 4):
            return leaf
        if not (sizes_match(leaf.shape[-2:], resized) if torch.jit.is_tracing()
                else tuple(leaf.shape[-2:]) == tuple(resized)):
            return leaf
        maps = leaf if leaf.dim() == 4 else leaf[:, None]
        if leaf.is_floating_point():
            maps = F.interpolate(maps, (size[0], size[1]), mode='bilinear')
        else:  # labels
            maps = F.interpolate(maps.float(), (size[0], size[1]), mode='nearest-exact')
        return (maps if leaf.dim() == 4 else maps[:, 0]).to(leaf.dtype)

    return tree_map(restore, outputs)


def pooling_class(option: str, name: str) -> type[ResizingPool]:
    """The class of poolings whose name is an option's value.

    Args:
        option: for messages.
        name: of ours, or of a subclass of `DynOPool` that was imported, the newest of its name.

    Raises:
        ValueError: there is none.
    """
    known: list[type[ResizingPool]] = [DynOPool]
    for kind in known:
        known += [child for child in kind.__subclasses__() if child is not ImageResize]
    found = {kind.__name__: kind for kind in known} | dict(
        DynOPool=DynOPool, ShapeAdaptor=ShapeAdaptor)
    if name not in found:
        raise ValueError(f"{option} must be 'DynOPool', 'ShapeAdaptor', or the name of a subclass "
                         f'of DynOPool that your project imports, got {name!r}')
    return found[name]


def by_instance(option: str, value: Any, names: Sequence[str]) -> dict[str, Any]:
    """An option by instance: a plain ``scale`` or ``bounds`` is for all but the image.

    Args:
        option: its name, for messages; the last word is ``learn``, ``scale`` or ``bounds``.
        value: for all, or a dict by instance, or None.
        names: of the instances.

    Raises:
        ValueError: an instance is unknown, or ``learn`` is not True or False.
    """
    if value is None:
        return {}
    learns = option.endswith('learn')
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - set(names))
        if unknown:
            raise ValueError(f'{option} names unknown instances {unknown}; there are {list(names)}')
        values = dict(value)
    else:
        values = {name: value for name in names if name != IMAGE or learns}
    if learns and not all(isinstance(v, bool) for v in [*values.values(), bool(values)]):
        raise ValueError(f'{option} must be True or False, got {value!r}')
    return values


def check_multiple(multiple: int) -> int:
    """Check it.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    if isinstance(multiple, bool) or not isinstance(multiple, int) or multiple < 1:
        raise ValueError(f'multiple must be a whole number of pixels >= 1, got {multiple!r}')
    return multiple
