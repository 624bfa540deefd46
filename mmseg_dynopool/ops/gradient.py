"""The gradients of DynOPool's input and alpha, from that of its output.

Along one axis, query ``j`` lies at ``k * cell``, with ``k = (j + 1 / 2) / 2`` in output cells. As
``(k - k0) * cell + stop_gradient(k0 * cell)`` it is the same point for every ``k0``, which the
option ``anchor`` chooses, but its derivative by ``cell`` is ``k - k0``, the lever.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .size import equal_sizes, resize

# Input values per part: intermediate results stay in the caches. Measured twice as fast.
_TOGETHER = 2**19


def gradients(grad_output: Tensor, winners: Tensor | None, alpha: Tensor, input: Tensor,
              anchor: str, window: float, needs_input: bool) -> tuple[Tensor | None, Tensor]:
    """Gradients of the input (None if not needed) and of alpha, straight through the rounding.

    Args:
        grad_output: ``(N, C, H_out, W_out)``.
        winners: see `reduce_with_winners`.
    """
    size, queries = input.shape[-2:], [2 * n for n in grad_output.shape[-2:]]
    axes = [_Axis.at(n, m, anchor, window, input.device) for n, m in zip(size, queries)]
    of_input = torch.empty_like(input) if needs_input else None
    of_cell = torch.zeros(2, dtype=torch.float64, device=input.device)
    for grad, won, values, target in _parts(grad_output, winners, input, of_input):
        of_queries = spread(grad, won)
        if target is not None:
            target.copy_(grad_input(of_queries, values.shape))
        of_cell += _grad_cell(of_queries, values, axes)
    # cell = H_in / round(H_in / alpha), so d cell / d alpha = (cell / alpha) ** 2.
    cell = torch.tensor([2 * n / m for n, m in zip(size, queries)], dtype=of_cell.dtype)
    cell = cell.to(alpha.device, non_blocking=True)
    return of_input, (of_cell * (cell / alpha)**2).to(alpha.dtype)


def spread(grad_output: Tensor, winners: Tensor | None) -> Tensor:
    """The gradient of the queries, ``(N, C, 2 * H_out, 2 * W_out)``, by torch's own kernels."""
    n, c, height, width = grad_output.shape
    last = _is_channels_last(grad_output if winners is None else winners)
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


def grad_input(grad_queries: Tensor, shape: Sequence[int]) -> Tensor:
    """The gradient of an input of this shape, from that of its queries."""
    size = list(grad_queries.shape[-2:])
    if equal_sizes(shape[-2:], size):
        return grad_queries
    return torch.ops.aten.upsample_bilinear2d_backward(
        grad_queries, size, list(shape), False, None, None)


def query_levers(size_out: int, anchor: str, window: float,
                 device: torch.device | None = None) -> Tensor:
    """Lever ``k - k0`` of each of the ``2 * size_out`` queries of an axis, in output cells.

    ``'corner'`` puts ``k0`` at 0 (the formulas read literally), ``'center'`` in the middle of the
    axis, ``'local'`` in the middle of the query's own window, where the axis is split into
    ``max(1, round(size_out / window))`` equal windows.
    """
    j = torch.arange(2 * size_out, device=device)
    k = (j.double() + 0.5) / 2
    if anchor == 'corner':
        return k
    if anchor == 'center':
        return k - size_out / 2
    windows = max(1, round(size_out / window))
    # floor(k * windows / size_out) in integers: exact where a query lies on a window's edge.
    own = torch.div((2 * j + 1) * windows, 4 * size_out, rounding_mode='floor')
    return k - (own.double() + 0.5) * size_out / windows


class _Axis(NamedTuple):
    """How alpha's slope is read along one axis.

    Attributes:
        below, above: the pixels whose difference is the bilinear slope at each query.
        factor: weight of that difference: the lever, divided by the two pixels' distance.
        place: position of the queries, in pixels.
        meets_pixels: whether a query lies on a pixel centre.
    """

    below: Tensor
    above: Tensor
    factor: Tensor
    place: Tensor
    meets_pixels: bool

    @classmethod
    def at(cls, size_in: int, queries: int, anchor: str, window: float,
           device: torch.device) -> '_Axis':
        """Compare positions in integers, ``query = numerator / (2 * queries)`` in pixels.

        So a query on a pixel centre is recognized, where both neighbours count half each.
        """
        j = torch.arange(queries, device=device)
        numerator = (2 * j + 1) * size_in - queries
        below = -torch.div(-numerator, 2 * queries, rounding_mode='floor') - 1
        above = torch.div(numerator, 2 * queries, rounding_mode='floor') + 1
        factor = query_levers(queries // 2, anchor, window, device) / (above - below)
        # Beyond the border's pixel centre the surface is flat: both clamp to one pixel.
        below, above = below.clamp(0, size_in - 1), above.clamp(0, size_in - 1)
        # Queries meet pixel centres if both counts have the same power of 2 as a factor; for
        # symbolic sizes this is unknown.
        meets = torch.compiler.is_compiling() or size_in & -size_in == queries & -queries
        return cls(below, above, factor, numerator.double() / (2 * queries), meets)


def _parts(grad_output: Tensor, winners: Tensor | None, input: Tensor, of_input: Tensor | None
           ) -> Iterator[tuple[Tensor, Tensor | None, Tensor, Tensor | None]]:
    """The maps in parts of a few planes each, or whole where parts gain nothing."""
    if torch.compiler.is_compiling() or input.device.type != 'cpu' or (
            not input.is_contiguous() or not input.numel()):
        yield grad_output, winners, input, of_input
        return
    together = max(1, _TOGETHER // (input.shape[2] * input.shape[3]))

    def planes(m: Tensor | None) -> Iterable[Any]:
        return repeat(None) if m is None else m.reshape(1, -1, *m.shape[2:]).split(together, 1)

    yield from zip(planes(grad_output), planes(winners), planes(input), planes(of_input))


def _grad_cell(grad_queries: Tensor, input: Tensor, axes: Sequence[_Axis]) -> Tensor:
    """Gradient of the loss by the cell's sides, ``(2,)`` in float64."""
    if input.dtype not in (torch.float32, torch.float64):
        input, grad_queries = input.float(), grad_queries.float()
    size, queries = input.shape[-2:], grad_queries.shape[-2:]
    height, width = axes
    # The slope of the bilinear surface along the height, at the queries' rows and all columns.
    rows = _take(input, 0, height.below)
    slope = _take(input, 0, height.above).sub_(rows)
    if height.meets_pixels:
        rows = resize(input, (queries[0], size[1]))
    else:  # the same values in one pass
        rows.addcmul_(slope, (height.place - height.below).to(slope.dtype)[:, None])
    by_height = resize(slope, queries).mul_(grad_queries).sum((0, 1, 3)) * height.factor
    # And along the width, at the queries' columns.
    slope = _take(rows, 1, width.above).sub_(_take(rows, 1, width.below))
    by_width = slope.mul_(grad_queries).sum((0, 1, 2)) * width.factor
    return torch.stack([by_height.sum(), by_width.sum()])


def _take(input: Tensor, axis: int, index: Tensor) -> Tensor:
    """Rows or columns of ``input``, each by the operator that was measured to be fastest."""
    if _is_channels_last(input):  # and stays so
        return input.permute(0, 2, 3, 1).index_select(1 + axis, index).permute(0, 3, 1, 2)
    if axis == 0:
        return input.index_select(2, index)
    return input.gather(3, index.expand(*input.shape[:3], -1))


def _is_channels_last(input: Tensor) -> bool:
    return input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous()
