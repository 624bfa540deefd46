"""DynOPool as a function ("Pooling Revisited: Your Receptive Field is Suboptimal", CVPR 2022)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .anchor import check_anchor, query_levers
from .size import pooled_size


def dynopool2d(input: Tensor,
               alpha: Tensor,
               output_size: Sequence[int] | None = None,
               anchor: str = 'local',
               window: float = 8) -> Tensor:
    """Pool by a factor that is learned, height and width apart.

    The output grid divides the input into ``H_out x W_out`` cells. Each cell reads the input
    bilinearly at four points, a quarter of its sides away from its centre, and keeps the
    maximum. With ``alpha = 2`` and even sizes this is 2 x 2 max pooling.

    The sizes are rounded with a straight-through estimator, so ``alpha`` gets a gradient from
    where the queries lie; ``anchor`` says about which point they move when a cell grows. Where
    a query lies exactly on a pixel centre, the slope is the mean of the two one-sided slopes.

    Args:
        input: floating point tensor of shape ``(N, C, H_in, W_in)``.
        alpha: floating point tensor of shape ``(2,)``: ``(alpha_h, alpha_w) = 1 / scale``.
        output_size: ``(H_out, W_out)`` when the caller knows it already; it saves reading
            ``alpha`` back from the device. Default: :func:`pooled_size` of ``alpha``.
        anchor: ``'local'``, ``'center'`` or ``'corner'``, see :func:`query_levers`.
        window: length of a window of ``'local'`` in output cells, at least 1.

    Returns:
        Tensor of shape ``(N, C, H_out, W_out)`` with the dtype of ``input``.

    Raises:
        ValueError: an argument is malformed; the message shows the value.

    Example:
        >>> alpha = torch.tensor([2.0, 3.0], requires_grad=True)
        >>> dynopool2d(torch.rand(1, 8, 64, 60), alpha).shape
        torch.Size([1, 8, 32, 20])
    """
    check_input(input)
    _check_alpha(alpha)
    check_anchor(anchor, window)
    if output_size is None:
        output_size = pooled_size(input.shape[-2:], alpha.tolist())
    else:
        output_size = _check_output_size(output_size)
    if torch.is_grad_enabled() and alpha.requires_grad:
        return _DynOPool2d.apply(input, alpha, output_size, anchor, window)
    return F.max_pool2d(_read_queries(input, output_size), 2)


def check_input(input: Tensor) -> None:
    """Check a feature map or image batch.

    Raises:
        ValueError: it is not 4-D, has an empty side or holds integers.
    """
    if not isinstance(input, Tensor):
        raise ValueError(f'input must be a tensor, got {type(input).__name__}')
    if input.dim() != 4:
        raise ValueError('input must be 4-D (N, C, H, W), got shape '
                         f'{tuple(input.shape)}; add a batch dimension with input[None]')
    if min(input.shape[1:]) == 0:
        raise ValueError(f'input has an empty side: shape {tuple(input.shape)}')
    if not input.is_floating_point():
        raise ValueError(f'input must be a floating point tensor, got {input.dtype}; '
                         'convert it with input.float()')


def _check_output_size(size) -> tuple[int, int]:
    if not isinstance(size, Sequence) or len(size) != 2 or any(
            isinstance(n, float) or n < 1 for n in size):
        raise ValueError(f'output_size must be two whole numbers >= 1, got {size!r}')
    return tuple(size)


def _check_alpha(alpha: Tensor) -> None:
    if not isinstance(alpha, Tensor) or alpha.shape != (2, ) or not alpha.is_floating_point():
        got = (f'{alpha.dtype} of shape {tuple(alpha.shape)}'
               if isinstance(alpha, Tensor) else repr(alpha))
        raise ValueError('alpha must be a floating point tensor (alpha_h, alpha_w) of shape '
                         f'(2,), got {got}')


def _read_queries(input: Tensor, output_size: tuple[int, int]) -> Tensor:
    """Values at the queries, ``(N, C, 2 * H_out, 2 * W_out)``.

    All cells are equal, so the queries form a regular grid: that of a bilinear resize.
    """
    size = (2 * output_size[0], 2 * output_size[1])
    if tuple(input.shape[-2:]) == size:  # every query is a pixel; keeps infinities exact, too
        return input
    # Autocast on the CPU resizes in float32; the result keeps the input's dtype.
    return F.interpolate(input, size, mode='bilinear', align_corners=False).to(input.dtype)


class _DynOPool2d(torch.autograd.Function):
    """:func:`dynopool2d` with the anchored straight-through gradient of alpha."""

    @staticmethod
    def forward(ctx, input, alpha, output_size, anchor, window):
        queries = _read_queries(input, output_size)
        output, indices = F.max_pool2d(queries, 2, return_indices=True)
        ctx.save_for_backward(input, alpha, indices)
        ctx.options = (output_size, anchor, window)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output):
        input, alpha, indices = ctx.saved_tensors
        output_size, anchor, window = ctx.options
        grad_input = grad_alpha = None
        if ctx.needs_input_grad[0]:
            grad_input = _grad_input(grad_output, input, indices, output_size)
        if ctx.needs_input_grad[1]:
            grad_cell = torch.stack([
                _grad_cell(grad_output, input, indices, output_size, axis, anchor, window)
                for axis in (0, 1)
            ])
            # cell = H_in / H_out and H_out = round(H_in / alpha), straight through:
            # d cell / d alpha = (cell / alpha) ** 2.
            cell = [n / m for n, m in zip(input.shape[-2:], output_size)]
            cell = torch.tensor(cell, dtype=grad_cell.dtype).to(alpha.device, non_blocking=True)
            grad_alpha = (grad_cell * (cell / alpha)**2).to(alpha.dtype)
        return grad_input, grad_alpha, None, None, None


def _grad_input(grad_output, input, indices, output_size):
    """The gradient of :func:`_read_queries` and the maximum, by torch's own kernels."""
    size = [2 * output_size[0], 2 * output_size[1]]
    same = list(input.shape[-2:]) == size
    # The kernel takes shape and memory format from this argument and reads no value.
    queries = input if same else input.new_empty([*input.shape[:2], *size])
    grad = torch.ops.aten.max_pool2d_with_indices_backward(
        grad_output, queries, [2, 2], [2, 2], [0, 0], [1, 1], False, indices)
    if same:
        return grad
    return torch.ops.aten.upsample_bilinear2d_backward(
        grad, size, list(input.shape), False, None, None)


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
    if across != list(input.shape[-2:]):
        input = F.interpolate(input, across, mode='bilinear', align_corners=False)
    slope = _take(input, axis, above).sub_(_take(input, axis, below))
    slope.mul_(weight.to(slope.dtype).view([-1, 1] if axis == 0 else [-1]))
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
