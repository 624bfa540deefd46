"""The gradients of DynOPool: of the input by torch's kernels, of alpha by the anchored formula.

``indices`` are those of :func:`reduce_with_indices`: None stands for the mean of the queries.
"""

import torch
import torch.nn.functional as F

from .anchor import query_levers
from .queries import equal_sizes


def grad_input(grad_output, input, indices, output_size):
    """The gradient of :func:`read_queries` and the reduction, by torch's own kernels."""
    size = [2 * output_size[0], 2 * output_size[1]]
    same = equal_sizes(input.shape[-2:], size)
    # The kernel takes shape and memory format from this argument and reads no value.
    queries = input if same else input.new_empty([*input.shape[:2], *size])
    if indices is None:
        grad = torch.ops.aten.avg_pool2d_backward(
            grad_output, queries, [2, 2], [2, 2], [0, 0], False, True, None)
    else:
        grad = torch.ops.aten.max_pool2d_with_indices_backward(
            grad_output, queries, [2, 2], [2, 2], [0, 0], [1, 1], False, indices)
    if same:
        return grad
    return torch.ops.aten.upsample_bilinear2d_backward(
        grad, size, list(input.shape), False, None, None)


def grad_alpha(grad_output, alpha, input, indices, output_size, anchor, window):
    """Alpha's gradient, ``(2,)``, with the dtype of alpha."""
    grad_cell = torch.stack([
        _grad_cell(grad_output, input, indices, output_size, axis, anchor, window)
        for axis in (0, 1)
    ])
    # cell = H_in / H_out and H_out = round(H_in / alpha), straight through:
    # d cell / d alpha = (cell / alpha) ** 2.
    cell = [n / m for n, m in zip(input.shape[-2:], output_size)]
    cell = torch.tensor(cell, dtype=grad_cell.dtype).to(alpha.device, non_blocking=True)
    return (grad_cell * (cell / alpha)**2).to(alpha.dtype)


def _grad_cell(grad_output, input, indices, output_size, axis, anchor, window):
    """Gradient of the loss by the cell's length along ``axis``, a scalar in float32 or better."""
    if input.dtype not in (torch.float32, torch.float64):
        input, grad_output = input.float(), grad_output.float()
    size_in, size_out = input.shape[2 + axis], output_size[axis]
    below, above, weight = _neighbours(size_in, size_out, input.device)
    weight = weight * query_levers(size_out, anchor, window, input.device)

    # Resize along the other axis, then take the slope of the bilinear surface along this one.
    across = list(input.shape[-2:])
    across[1 - axis] = 2 * output_size[1 - axis]
    if not equal_sizes(input.shape[-2:], across):
        input = F.interpolate(input, across, mode='bilinear', align_corners=False)
    slope = _take(input, axis, above).sub_(_take(input, axis, below))
    slope.mul_(weight.to(slope.dtype).view([-1, 1] if axis == 0 else [-1]))
    if indices is None:
        slope = F.avg_pool2d(slope, 2)
    else:
        slope = slope.flatten(2).gather(2, indices.flatten(2)).view_as(grad_output)
    return (slope * grad_output).sum()


def _take(input, axis, index):
    """Rows or columns of ``input``; the fastest operator for each, by measurement."""
    if axis == 0:
        return input.index_select(2, index)
    return input.gather(3, index.expand(*input.shape[:3], -1))


def _neighbours(size_in: int, size_out: int, device):
    """The pixels whose difference is the bilinear slope at each of the ``2 * size_out`` queries.

    Positions are compared in integers, as ``query = numerator / (4 * size_out)`` in pixels, so
    that a query on a pixel centre is known as such: there both neighbours count, each half.
    """
    j = torch.arange(2 * size_out, device=device)
    numerator = (2 * j + 1) * size_in - 2 * size_out
    below = -torch.div(-numerator, 4 * size_out, rounding_mode='floor') - 1
    above = torch.div(numerator, 4 * size_out, rounding_mode='floor') + 1
    weight = 1.0 / (above - below)
    # Beyond the border's pixel centre the surface is flat: both clamp to one pixel.
    return below.clamp(0, size_in - 1), above.clamp(0, size_in - 1), weight
