"""Values of the input at the queries of every cell."""

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true


def read_queries(input: Tensor, output_size: tuple[int, int]) -> Tensor:
    """Values at the queries, ``(N, C, 2 * H_out, 2 * W_out)``.

    All cells are equal, so the queries form a regular grid: that of a bilinear resize.
    """
    size = (2 * output_size[0], 2 * output_size[1])
    if equal_sizes(input.shape[-2:], size):  # every query is a pixel; keeps infinities exact, too
        return input
    # Autocast on the CPU resizes in float32; the result keeps the input's dtype.
    return F.interpolate(input, size, mode='bilinear', align_corners=False).to(input.dtype)


def equal_sizes(size: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two sizes are equal; symbols, or tensors in a trace, only if they always are.

    Else a compiled, exported or traced program would hold for this case alone.
    """
    return all(a is b or (not isinstance(a, Tensor) and not isinstance(b, Tensor)
                          and statically_known_true(a == b)) for a, b in zip(size, other))


def sizes_match(size: Sequence[int], other: Sequence[int]) -> bool:
    """`equal_sizes`, in a trace those of the traced image: for what holds of any or of none."""
    if not torch.jit.is_tracing():
        return equal_sizes(size, other)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        return [int(n) for n in size] == [int(n) for n in other]


def is_channels_last(input: Tensor) -> bool:
    """Whether the channels lie side by side in memory."""
    return input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous()
