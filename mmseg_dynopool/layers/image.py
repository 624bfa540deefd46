"""The image's own size as the first level: learned, and constant."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from mmseg_dynopool.ops import aligned_size, image_resize2d
from mmseg_dynopool.ops.image_resize import with_zero_gradient

from .dynopool import DynOPool, FixedDynOPool, check_bounds

IMAGE = 'image'  # its name among a network's poolings


class ImageResize(DynOPool):
    """Resizes the image by a learned scale, to sizes that strided layers behind it divide.

    At scale 1, where it begins, it does nothing at all. The scale has no gradient of its own: a
    [`ScaleLearner`][mmseg_dynopool.learning.ScaleLearner] moves it, by what it measures.

    Args:
        scale: initial scale factor, one number or ``(scale_h, scale_w)``.
        bounds: lowest and highest scale factor, 1 among them.
        multiple: of pixels, to which the resized image's sides are rounded.

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
                 bounds: Sequence[float] = (0.25, 4.0), multiple: int = 1):
        low, high = check_bounds(bounds)
        if not low <= 1 <= high:
            raise ValueError(f"the bounds of the image's scale must hold 1, got {bounds!r}")
        super().__init__(scale, bounds)
        self.multiple = check_multiple(multiple)

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
                f'multiple={self.multiple}')


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


def add_zero_gradient(outputs: Any, resize: nn.Module) -> Any:
    """A network's outputs; in their backward pass the alpha of its `ImageResize` gets zeros.

    DDP waits for one; at the image itself it would cost the gradient of the first layer's input.
    """
    if not isinstance(resize, ImageResize) or not (
            torch.is_grad_enabled() and resize.alpha.requires_grad) or torch.jit.is_tracing():
        return outputs
    leaves, structure = tree_flatten(outputs)
    for i in reversed(range(len(leaves))):
        if isinstance(leaves[i], Tensor) and leaves[i].requires_grad:
            # The last is the smallest.
            leaves[i] = with_zero_gradient(leaves[i], resize.alpha)
            break
    return tree_unflatten(leaves, structure)


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
