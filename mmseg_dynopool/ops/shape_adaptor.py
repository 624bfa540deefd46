"""Shape Adaptor as a function ("Shape Adaptor: A Learnable Resizing Module", ECCV 2020).

By Liu, Lin, Wang, Zhang, Perazzi and Johns. The supplement's section 2 compares DynOPool with it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .pooling import check_input, check_output_size, read_size
from .size import is_number, pooled_size, resize

POOLINGS = ('max', 'mean')


def shape_adaptor2d(input: Tensor,
                    weight: Tensor | float,
                    output_size: Sequence[int] | None = None,
                    ratios: Sequence[float] = (0.5, 1.0),
                    pooling: str = 'max',
                    align_corners: bool = False) -> Tensor:
    """Mix two branches of pre-defined ratios ``r1 < r2``, both resized to a ratio between them.

    ``(1 - w) * resize(F1(input), size) + w * resize(F2(input), size)`` with the target ratio
    ``s = r1 + (r2 - r1) * w``, one for both axes. ``F1`` pools to ``r1``, ``F2`` to ``r2``, where
    ``r2 = 1`` is the identity; ``resize`` is bilinear. ``weight`` gets a gradient only through the
    mix: the size is rounded.

    Args:
        input: floating point tensor of shape ``(N, C, H_in, W_in)``.
        weight: ``w``, a floating point tensor with one value, or a number; 0 to 1.
        output_size: ``(H_out, W_out)`` if the caller knows it already; saves reading ``weight``
            back from the device. Default:
            [`pooled_size`][mmseg_dynopool.ops.pooled_size] at the target ratio.
        ratios: ``(r1, r2)`` with ``0 < r1 < r2 <= 1``.
        pooling: ``'max'`` or ``'mean'``; a branch divides its input into equal windows, at
            ``r1 = 0.5`` and even sides into 2 x 2 pixels.
        align_corners: as in `torch.nn.functional.interpolate`. The authors' code has True, which
            misaligns the two branches; False keeps them aligned.

    Returns:
        Tensor of shape ``(N, C, H_out, W_out)`` with the dtype of ``input``.

    Raises:
        ValueError: an argument is malformed; the message shows the value.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.ops import shape_adaptor2d
        >>> w = torch.tensor(0.5, requires_grad=True)
        >>> shape_adaptor2d(torch.rand(1, 8, 64, 60), w).shape
        torch.Size([1, 8, 48, 45])
    """
    check_input(input)
    weight = _check_weight(weight)
    ratios = check_ratios(ratios)
    check_pooling(pooling, align_corners)
    if output_size is not None:
        output_size = check_output_size(output_size)
    else:
        output_size = read_size(input.shape[-2:], shape_adaptor_alpha(weight, ratios))
    # In single precision or better: the gradient of the weight is a sum over all pixels.
    values = input if input.dtype in (torch.float32, torch.float64) else input.float()
    low, high = (resize(_pool(values, ratio, pooling), output_size, align_corners)
                 for ratio in ratios)
    weight = weight.to(values.dtype)
    return ((1 - weight) * low + weight * high).to(input.dtype)


def shape_adaptor_alpha(weight: Tensor, ratios: Sequence[float]) -> Tensor:
    """``(1 / s, 1 / s)`` of the target ratio ``s = r1 + (r2 - r1) * w``, differentiable.

    Computed in double, then rounded to single precision: the rounded weight of a ratio such as 0.5
    gives exactly 2, and so the sizes of a strided convolution.
    """
    low, high = ratios
    return (1 / (low + (high - low) * weight.double())).float().reshape(1).expand(2)


def check_ratios(ratios: Sequence[float]) -> tuple[float, float]:
    """Raise a ValueError unless ``0 < r1 < r2 <= 1``."""
    pair = tuple(ratios) if isinstance(ratios, Sequence) and not isinstance(ratios, str) else ()
    if len(pair) != 2 or not all(map(is_number, pair)) or not 0 < pair[0] < pair[1] <= 1:
        raise ValueError('ratios must be two numbers (r1, r2) with 0 < r1 < r2 <= 1, got '
                         f'{ratios!r}; (0.5, 1.0) mixes a halved branch and the input itself')
    return float(pair[0]), float(pair[1])


def check_pooling(pooling: str, align_corners: bool) -> None:
    """Raise a ValueError for a malformed option of the branches."""
    if pooling not in (*POOLINGS, 'average'):  # its name in 0.3
        raise ValueError(f'pooling must be one of {POOLINGS}, got {pooling!r}')
    if not isinstance(align_corners, bool):
        raise ValueError(f'align_corners must be True or False, got {align_corners!r}')


def _check_weight(weight: Tensor | float) -> Tensor:
    if isinstance(weight, Tensor):
        is_one = torch.jit.is_tracing() or weight.numel() == 1  # a symbol in a trace
        if not (is_one and weight.is_floating_point()):
            raise ValueError('weight must be a floating point tensor with one value, got '
                             f'{weight.dtype} of shape {tuple(weight.shape)}')
        return weight.reshape(())
    if not (is_number(weight) and 0 <= weight <= 1):
        raise ValueError('weight must be a tensor with one value, or a number from 0 (the first '
                         f'branch alone) to 1 (the second alone), got {weight!r}')
    return torch.tensor(weight, dtype=torch.float64)


def _pool(input: Tensor, ratio: float, pooling: str) -> Tensor:
    if ratio == 1:
        return input
    pool = F.adaptive_max_pool2d if pooling == 'max' else F.adaptive_avg_pool2d
    return pool(input, pooled_size(input.shape[-2:], (1 / ratio, 1 / ratio)))
