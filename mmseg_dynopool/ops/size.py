"""How large a pooled feature map is (paper, section 4.1)."""

import math
from collections.abc import Sequence
from numbers import Real

from torch import Tensor

_LONGEST = 40  # bits of an alpha's ratio, which 64 hold times any size


def pooled_size(size: Sequence[int], alpha: Sequence[float]) -> tuple[int, int]:
    """Size of the output of a DynOPool: ``round(size / alpha)``, at least 1.

    A tie rounds up. So ``alpha = 2`` gives ``ceil(size / 2)``, the size that a strided 3 x 3
    convolution gives: a network at its initial scale keeps the stock network's sizes.

    Args:
        size: ``(H_in, W_in)`` in pixels; symbols or tensors while a network is traced.
        alpha: ``(alpha_h, alpha_w) = (1 / r_h, 1 / r_w)`` as Python numbers.

    Returns:
        ``(H_out, W_out)`` in pixels, of the kind of ``size``.

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


def is_number(value: object) -> bool:
    """Whether it is a finite number, and no bool."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _round_quotient(n: int, alpha: float) -> int:
    """``floor(n / alpha + 1 / 2)`` in integers, at least 1: exact, also where ``n`` is a symbol.

    An exported program would compute it in single precision, and miss the size near a tie.
    """
    numerator, denominator = alpha.as_integer_ratio()
    if isinstance(n, Tensor) and max(numerator, denominator) >> _LONGEST:
        n = int(n)  # else a tensor's integers overflow, of an alpha in double precision
    rounded = (2 * n * denominator + numerator) // (2 * numerator)
    return rounded.clamp(min=1) if isinstance(rounded, Tensor) else max(1, rounded)
