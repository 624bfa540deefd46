"""An image of learned size: aligned, and resized without aliasing."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .pooling import check_input
from .size import aligned_size, equal_sizes


def image_resize2d(image: Tensor, alpha: Sequence[float] | Tensor, multiple: int = 1,
                   output_size: Sequence[int] | None = None) -> Tensor:
    """Resize an image by ``1 / alpha``, bilinearly and without aliasing; alpha gets no gradient.

    Args:
        image: ``(N, C, H, W)``, floating point.
        alpha: ``(alpha_h, alpha_w)``.
        multiple: pixels that divide the output's sides, see `aligned_size`.
        output_size: ``(H_out, W_out)`` if known already; ``alpha`` is then not read.

    Returns:
        ``(N, C, H_out, W_out)``; ``image`` itself if that is its size.

    Raises:
        ValueError: ``image`` is not 4-D, has an empty side or holds integers, or an alpha is not
            positive and finite.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.ops import image_resize2d
        >>> image_resize2d(torch.rand(1, 3, 64, 96), (1.0, 2.0), multiple=4).shape
        torch.Size([1, 3, 64, 48])
    """
    check_input(image)
    if output_size is None:
        alpha = alpha.tolist() if isinstance(alpha, Tensor) else alpha
        output_size = aligned_size(image.shape[-2:], alpha, multiple)
    height, width = output_size
    if equal_sizes(image.shape[-2:], (height, width)):
        return image
    if image.dtype in (torch.float16, torch.bfloat16):  # CPUs have no kernel for these
        return image_resize2d(image.float(), (1.0, 1.0), output_size=output_size).to(image.dtype)
    if torch.jit.is_tracing() and torch.onnx.is_in_onnx_export():  # ONNX lacks the operator
        sizes = zip(image.shape[-2:], (height, width))
        rows, columns = (_resize_weights(*size, image) for size in sizes)
        return rows @ image @ columns.T
    return F.interpolate(image, (height, width), mode='bilinear', antialias=True)


def _resize_weights(length: int, resized: int, image: Tensor) -> Tensor:
    """The resize of one axis as a matrix ``(resized, length)``."""
    scale: Any = length / resized  # tensors, as sizes are in a trace
    centers = (torch.arange(resized, device=image.device) + 0.5) * scale
    pixels = torch.arange(length, device=image.device) + 0.5
    weights = (1 - (pixels - centers[:, None]).abs() / scale.clamp(min=1)).clamp(min=0)
    return (weights / weights.sum(1, keepdim=True)).to(image.dtype)
