"""How the values at a cell's four queries become one."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .queries import is_channels_last

REDUCTIONS = ('max', 'mean')


def check_reduce(reduce: str) -> None:
    """Check the option ``reduce``.

    Raises:
        ValueError: it is unknown.
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f'reduce must be one of {REDUCTIONS}, got {reduce!r}; '
                         "'max' replaces a stride or a maximum, 'mean' an average pooling")


def reduce_queries(queries: Tensor, reduce: str) -> Tensor:
    """The output, ``(N, C, H_out, W_out)``, from queries of twice its sides.

    Eager code calls it without gradients: torch.maximum would share that of equal queries.
    """
    if reduce == 'mean':
        return F.avg_pool2d(queries, 2)
    if not _is_eager_on_cpu(queries):
        return F.max_pool2d(queries, 2)
    rows = torch.maximum(queries[..., 0::2], queries[..., 1::2])
    return torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


def reduce_with_winners(queries: Tensor, reduce: str) -> tuple[Tensor, Tensor | None]:
    """The output, and which query of each cell has the maximum; None for the mean.

    Of equal queries it is the first, as in ``max_pool2d``.

    Returns:
        Output and uint8 tensor, ``(N, C, H_out, W_out)`` each: 0 and 1 stand for the upper left
        and upper right query, 2 and 3 for those below.
    """
    if reduce == 'mean':
        return F.avg_pool2d(queries, 2), None
    if not _is_eager_on_cpu(queries):
        output, indices = F.max_pool2d(queries, 2, return_indices=True)
        row = indices // queries.shape[3]
        return output, ((row & 1) * 2 + (indices & 1)).to(torch.uint8)
    # max_pool2d vectorizes over channels alone, and only where these come last in memory.
    left, right = queries[..., 0::2], queries[..., 1::2]
    is_right = (right > left).view(torch.uint8)
    rows = torch.maximum(left, right)
    upper, lower = rows[:, :, 0::2], rows[:, :, 1::2]
    is_low = (lower > upper).view(torch.uint8)
    # Bits instead of torch.where, which is slow on bytes.
    column = is_right[:, :, 0::2] ^ (is_low & (is_right[:, :, 0::2] ^ is_right[:, :, 1::2]))
    return torch.maximum(upper, lower), column.add_(is_low, alpha=2)


def spread(grad_output: Tensor, winners: Tensor | None) -> Tensor:
    """The gradient of the queries, ``(N, C, 2 * H_out, 2 * W_out)``, by torch's own kernels."""
    n, c, height, width = grad_output.shape
    last = is_channels_last(grad_output if winners is None else winners)
    # The kernels take shape and memory format from this argument and read no value.
    queries = torch.empty(
        [n, c, 2 * height, 2 * width], dtype=grad_output.dtype, device=grad_output.device,
        memory_format=torch.channels_last if last else torch.contiguous_format)
    if winners is None:
        return torch.ops.aten.avg_pool2d_backward(
            grad_output, queries, [2, 2], [2, 2], [0, 0], False, True, None)
    # A winner is 2 * row + column in its cell, and its index in the map 2 * width * row + column.
    first = torch.arange(height, device=winners.device)[:, None] * (4 * width)
    first = first + 2 * torch.arange(width, device=winners.device)
    indices = (winners >> 1).long().mul_(2 * width - 2).add_(winners).add_(first)
    return torch.ops.aten.max_pool2d_with_indices_backward(
        grad_output, queries, [2, 2], [2, 2], [0, 0], [1, 1], False, indices)


def _is_eager_on_cpu(queries: Tensor) -> bool:
    return queries.device.type == 'cpu' and not torch.compiler.is_compiling() \
        and not torch.jit.is_tracing()
