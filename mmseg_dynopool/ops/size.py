"""How large a pooled feature map is (paper, section 4.1), and a resize to a given size."""

import math
from collections.abc import Sequence
from numbers import Real

import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

_LONGEST = 40  # bits of an alpha's numerator and denominator: times any size they fit into 64


def pooled_size(size: Sequence[int], alpha: Sequence[float]) -> tuple[int, int]:
    """Size of the output of a DynOPool: ``round(size / alpha)``, at least 1.

    Ties round up, so ``alpha = 2`` gives ``ceil(size / 2)``, as a strided 3 x 3 convolution does:
    a network at its initial scale keeps the stock network's sizes.

    Args:
        size: ``(H_in, W_in)`` in pixels; symbols or tensors while a network is traced.
        alpha: ``(alpha_h, alpha_w) = (1 / r_h, 1 / r_w)`` as Python numbers.

    Returns:
        ``(H_out, W_out)`` in pixels, of the type of ``size``.

    Raises:
        ValueError: an alpha is not a positive, finite number.

    Examples:
        >>> from mmseg_dynopool.ops import pooled_size
        >>> pooled_size((65, 64), (2.0, 3.0))
        (33, 21)
    """
    for value in alpha:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(
                f'alpha must be positive and finite, got {tuple(alpha)}; alpha is 1 / scale, '
                'so a map halved in height and width has alpha = (2, 2)')
    height, width = (_round_quotient(n, a) for n, a in zip(size, alpha))
    return height, width


def aligned_size(size: Sequence[int], alpha: Sequence[float], multiple: int) -> tuple[int, int]:
    """Size of an image that is resized by ``1 / alpha``: the nearest multiple, at least one.

    A strided convolution on a size that its stride does not divide shifts its grid, which costs
    accuracy. At ``alpha = 1`` an axis stays as it is, whatever its size.

    Args:
        size: ``(H_in, W_in)`` in pixels.
        alpha: ``(alpha_h, alpha_w)`` as Python numbers.
        multiple: in pixels, for both axes.

    Returns:
        ``(H_out, W_out)`` in pixels.

    Raises:
        ValueError: an alpha is not a positive, finite number.

    Examples:
        >>> from mmseg_dynopool.ops import aligned_size
        >>> aligned_size((512, 1023), (1.4, 1.0), multiple=4)
        (364, 1023)
    """
    steps = pooled_size(size, [a * multiple for a in alpha])
    height, width = (n if a == 1 else k * multiple for n, a, k in zip(size, alpha, steps))
    return height, width


def _round_quotient(n: int, alpha: float) -> int:
    """``floor(n / alpha + 1 / 2)`` in integers, at least 1: exact, also where ``n`` is a symbol.

    An exported program would compute floats in single precision, and miss the size near a tie.
    """
    numerator, denominator = alpha.as_integer_ratio()
    if isinstance(n, Tensor) and max(numerator, denominator) >> _LONGEST:
        n = int(n)  # the tensor's integers would overflow, for an alpha in double precision
    rounded = (2 * n * denominator + numerator) // (2 * numerator)
    return rounded.clamp(min=1) if isinstance(rounded, Tensor) else max(1, rounded)


def is_number(value: object) -> bool:
    """Whether this is a finite number and not a bool."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def check_whole(name: str, value: object, unit: str = '') -> None:
    """Raise a ValueError unless this is a whole number, of a unit, of at least 1."""
    if type(value) is not int or value < 1:
        of = f' of {unit}' if unit else ''
        raise ValueError(f'{name} must be a whole number{of} >= 1, got {value!r}')


def equal_sizes(size: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two sizes are equal; symbols, or tensors in a trace, only if they always are.

    Otherwise a compiled, exported or traced program would be valid for this case only.
    """
    return all(a is b or (not isinstance(a, Tensor) and not isinstance(b, Tensor)
                          and statically_known_true(a == b)) for a, b in zip(size, other))


def resize(input: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Resize bilinearly; ``input`` itself if it has that size, which keeps infinities."""
    if equal_sizes(input.shape[-2:], size):
        return input
    output = F.interpolate(input, list(size), mode='bilinear', align_corners=align_corners)
    return output.to(input.dtype)  # autocast on the CPU gives float32
