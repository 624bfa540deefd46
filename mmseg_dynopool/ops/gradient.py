"""The gradients of DynOPool, from that of its queries: of the input, and of alpha."""

import torch
import torch.nn.functional as F

from .anchor import query_levers
from .queries import equal_sizes, is_channels_last


def grad_input(grad_queries, shape):
    """The gradient of :func:`read_queries`, by torch's own kernel.

    Args:
        grad_queries: gradient of the queries, ``(N, C, 2 * H_out, 2 * W_out)``.
        shape: ``(N, C, H_in, W_in)``.
    """
    size = list(grad_queries.shape[-2:])
    if equal_sizes(shape[-2:], size):
        return grad_queries
    return torch.ops.aten.upsample_bilinear2d_backward(
        grad_queries, size, list(shape), False, None, None)


def grad_alpha(grad_queries, alpha, input, anchor, window):
    """Alpha's gradient, ``(2,)``, with the dtype of alpha."""
    if input.dtype not in (torch.float32, torch.float64):
        input, grad_queries = input.float(), grad_queries.float()
    size, queries = input.shape[-2:], grad_queries.shape[-2:]
    # The slope of the bilinear surface along the height, at the queries' rows and all columns.
    upper, lower, weight, place = _neighbours(size[0], queries[0], input.device)
    rows = _take(input, 0, upper)
    slope = _take(input, 0, lower).sub_(rows)
    if torch.compiler.is_compiling() or _meets_pixels(size[0], queries[0]):
        rows = _resize(input, (queries[0], size[1]))
    else:  # the same values by one pass over what is at hand
        rows.addcmul_(slope, (place - upper).to(slope.dtype)[:, None])
    by_height = _resize(slope, queries).mul_(grad_queries).sum((0, 1, 3)) * weight
    # And along the width, at the queries' columns.
    left, right, weight, _ = _neighbours(size[1], queries[1], input.device)
    slope = _take(rows, 1, right).sub_(_take(rows, 1, left))
    by_width = slope.mul_(grad_queries).sum((0, 1, 2)) * weight

    grad_cell = torch.stack([
        (by_query * query_levers(len(by_query) // 2, anchor, window, input.device)).sum()
        for by_query in (by_height, by_width)])
    # cell = H_in / H_out and H_out = round(H_in / alpha), straight through:
    # d cell / d alpha = (cell / alpha) ** 2.
    cell = [2 * n / m for n, m in zip(size, queries)]
    cell = torch.tensor(cell, dtype=grad_cell.dtype).to(alpha.device, non_blocking=True)
    return (grad_cell * (cell / alpha)**2).to(alpha.dtype)


def _resize(input, size):
    if equal_sizes(input.shape[-2:], size):
        return input
    return F.interpolate(input, list(size), mode='bilinear', align_corners=False)


def _take(input, axis, index):
    """Rows or columns of ``input``; the fastest operator for each, by measurement."""
    if is_channels_last(input):  # and so it stays
        return input.permute(0, 2, 3, 1).index_select(1 + axis, index).permute(0, 3, 1, 2)
    if axis == 0:
        return input.index_select(2, index)
    return input.gather(3, index.expand(*input.shape[:3], -1))


def _neighbours(size_in: int, queries: int, device):
    """The pixels whose difference is the bilinear slope at each query, its weight, the query.

    Positions are compared in integers, as ``query = numerator / (2 * queries)`` in pixels, so
    that a query on a pixel centre is known as such: there both neighbours count, each half.
    """
    j = torch.arange(queries, device=device)
    numerator = (2 * j + 1) * size_in - queries
    below = -torch.div(-numerator, 2 * queries, rounding_mode='floor') - 1
    above = torch.div(numerator, 2 * queries, rounding_mode='floor') + 1
    weight = 1.0 / (above - below)
    # Beyond the border's pixel centre the surface is flat: both clamp to one pixel.
    below, above = below.clamp(0, size_in - 1), above.clamp(0, size_in - 1)
    return below, above, weight, numerator.double() / (2 * queries)


def _meets_pixels(size_in: int, queries: int) -> bool:
    """Whether a query lies on a pixel centre: some odd multiple of one is one of the other."""
    return size_in & -size_in == queries & -queries
