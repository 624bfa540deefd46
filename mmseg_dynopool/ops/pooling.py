"""DynOPool as a function ("Pooling Revisited: Your Receptive Field is Suboptimal", CVPR 2022).

A bilinear resize to twice the output's size, then 2 x 2 max pooling: the resize reads at the
queries, a quarter of a cell from each centre (derived in docs/house.md).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .gradient import grad_input, gradients, spread
from .size import pooled_size, resize

ANCHORS = ('local', 'center', 'corner')
REDUCTIONS = ('max', 'mean')


def dynopool2d(input: Tensor,
               alpha: Tensor | Sequence[float],
               output_size: Sequence[int] | None = None,
               anchor: str = 'local',
               window: float = 8,
               reduce: str = 'max') -> Tensor:
    """Pool by a learned factor, separately for height and width.

    The output grid divides the input into ``H_out x W_out`` cells. Each cell reads the input
    bilinearly at four points, a quarter of its sides away from its centre, and keeps the
    maximum, or the mean. With ``alpha = 2`` and even sizes this is 2 x 2 max or average pooling.

    The sizes are rounded with a straight-through estimator, so ``alpha`` gets a gradient from
    where the queries lie; ``anchor`` says about which point they move when a cell grows. Where
    a query lies exactly on a pixel centre, the slope is the mean of the two one-sided slopes. The
    maximum passes on the slope of the winning query, the mean the average of all four.

    Args:
        input: floating point tensor of shape ``(N, C, H_in, W_in)``.
        alpha: floating point tensor of shape ``(2,)``: ``(alpha_h, alpha_w) = 1 / scale``; or
            two numbers, for a fixed scale.
        output_size: ``(H_out, W_out)`` if the caller knows it already; saves reading ``alpha``
            back from the device, and a graph break of ``torch.compile``. Default:
            [`pooled_size`][mmseg_dynopool.ops.pooled_size] of `alpha`.
        anchor: reference point of alpha's gradient: `'local'`, the middle of the query's own
            window; `'center'` or `'corner'` of the map; or `'none'`, a gradient of zeros.
        window: length of a window of ``'local'`` in output cells, at least 1.
        reduce: ``'max'`` or ``'mean'`` of a cell's queries.

    Returns:
        Tensor of shape ``(N, C, H_out, W_out)`` with the dtype of ``input``.

    Raises:
        ValueError: an argument is malformed; the message shows the value.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.ops import dynopool2d
        >>> alpha = torch.tensor([2.0, 3.0], requires_grad=True)
        >>> dynopool2d(torch.rand(1, 8, 64, 60), alpha).shape
        torch.Size([1, 8, 32, 20])
    """
    check_input(input)
    _check_alpha(alpha)
    check_anchor(anchor, window)
    check_reduce(reduce)
    if output_size is not None:
        size = check_output_size(output_size)
    elif isinstance(alpha, Tensor):
        size = read_size(input.shape[-2:], alpha)
    else:
        size = pooled_size(input.shape[-2:], alpha)
    learns = isinstance(alpha, Tensor) and alpha.requires_grad
    # A trace holds only operators, and alpha as a constant.
    if torch.jit.is_tracing() or not torch.is_grad_enabled() or not (
            learns or input.requires_grad):
        return reduce_queries(read_queries(input, size), reduce)
    if learns and anchor == 'none':
        assert isinstance(alpha, Tensor)
        return with_zero_gradient(dynopool2d(input, alpha.detach(), size, reduce=reduce), alpha)
    if not torch.compiler.is_compiling():
        if not learns:
            return _FixedPool2d.apply(input, reduce, size)[0]
        return _DynOPool2d.apply(input, alpha, reduce, size, anchor, window)
    # The compiler differentiates the operators itself and decides what to keep.
    queries = read_queries(input, size)
    if not learns:
        return reduce_queries(queries, reduce)
    output, winners = reduce_with_winners(queries, reduce)
    return _AlphaGradient.apply(output, alpha, input.detach(), winners, anchor, window)


def read_queries(input: Tensor, output_size: tuple[int, int]) -> Tensor:
    """Values at the queries of all cells, ``(N, C, 2 * H_out, 2 * W_out)``."""
    return resize(input, (2 * output_size[0], 2 * output_size[1]))


def reduce_queries(queries: Tensor, reduce: str) -> Tensor:
    """The output, ``(N, C, H_out, W_out)``.

    Eager code calls it without gradients: torch.maximum would split one between equal queries.
    """
    if reduce == 'mean':
        return F.avg_pool2d(queries, 2)
    if not _is_eager_on_cpu(queries):
        return F.max_pool2d(queries, 2)
    rows = torch.maximum(queries[..., 0::2], queries[..., 1::2])
    return torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


def reduce_with_winners(queries: Tensor, reduce: str) -> tuple[Tensor, Tensor | None]:
    """The output, and which query of each cell has the maximum; None for the mean.

    As bytes: 0 and 1 are the upper left and right query, 2 and 3 those below; the first of equal
    ones wins, as in ``max_pool2d``.
    """
    if reduce == 'mean':
        return F.avg_pool2d(queries, 2), None
    if not _is_eager_on_cpu(queries):
        output, indices = F.max_pool2d(queries, 2, return_indices=True)
        row = indices // queries.shape[3]
        return output, ((row & 1) * 2 + (indices & 1)).to(torch.uint8)
    # max_pool2d vectorizes only over channels, and only if these come last in memory.
    left, right = queries[..., 0::2], queries[..., 1::2]
    is_right = (right > left).view(torch.uint8)
    rows = torch.maximum(left, right)
    upper, lower = rows[:, :, 0::2], rows[:, :, 1::2]
    is_low = (lower > upper).view(torch.uint8)
    # Bits instead of torch.where, which is slow on bytes.
    column = is_right[:, :, 0::2] ^ (is_low & (is_right[:, :, 0::2] ^ is_right[:, :, 1::2]))
    return torch.maximum(upper, lower), column.add_(is_low, alpha=2)


def with_zero_gradient(features: Tensor, parameter: Tensor) -> Tensor:
    """``features``, whose backward pass gives ``parameter`` zeros, since DDP waits for those."""
    return _WithZeroGradient.apply(features, parameter)


@torch.compiler.disable
def read_size(size: Sequence[int], alpha: Tensor) -> tuple[int, int]:
    """`pooled_size` for an ``alpha`` on any device.

    Never compiled, so that compiled code sees only sizes, integers that may change from call to
    call, and not alpha, whose value changes with every step.
    """
    return pooled_size(size, alpha.tolist())


def check_input(input: Tensor) -> None:
    """Raise a ValueError unless this is a batch of feature maps or images."""
    if isinstance(input, torch.fx.Proxy):
        return  # nothing is known of it
    if not isinstance(input, Tensor):
        raise ValueError(f'input must be a tensor, got {type(input).__name__}')
    if input.dim() != 4:
        mend = ('add a batch dimension with input[None]' if input.dim() == 3 else
                'volumes and the like have no form of this')
        raise ValueError(f'input must be 4-D (N, C, H, W), got shape {tuple(input.shape)}; {mend}')
    if not torch.jit.is_tracing() and min(input.shape[1:]) == 0:  # else sizes are tensors
        raise ValueError(f'input has an empty side: shape {tuple(input.shape)}')
    if not input.is_floating_point():
        raise ValueError(f'input must be a floating point tensor, got {input.dtype}; '
                         'convert it with input.float()')


def check_output_size(size: Sequence[int]) -> tuple[int, int]:
    """Raise a ValueError unless this is two whole numbers of at least 1."""
    traced = torch.jit.is_tracing()
    if not isinstance(size, Sequence) or len(size) != 2 or any(
            not isinstance(n, (int, torch.SymInt)) or n < 1
            for n in size if not (traced and isinstance(n, Tensor))):
        raise ValueError(f'output_size must be two whole numbers >= 1, got {size!r}')
    return size[0], size[1]


def check_anchor(anchor: str, window: float) -> None:
    """Raise a ValueError for an unknown anchor or a malformed window."""
    if anchor not in (*ANCHORS, 'none'):
        raise ValueError(f"anchor must be one of {(*ANCHORS, 'none')}, got {anchor!r}")
    if isinstance(window, bool) or not isinstance(window, (int, float)) or not window >= 1:
        raise ValueError(f'window must be a number of output cells >= 1, got {window!r}')


def check_reduce(reduce: str) -> None:
    """Raise a ValueError for an unknown reduction."""
    if reduce not in REDUCTIONS:
        raise ValueError(f'reduce must be one of {REDUCTIONS}, got {reduce!r}; '
                         "'max' replaces a stride or a maximum, 'mean' an average pooling")


def _check_alpha(alpha: Tensor | Sequence[float]) -> None:
    if isinstance(alpha, Tensor):
        fits = alpha.is_floating_point() and (
            torch.jit.is_tracing() or alpha.shape == (2, ))
        got = f'{alpha.dtype} of shape {tuple(alpha.shape)}'
    else:
        fits = isinstance(alpha, (tuple, list)) and len(alpha) == 2 and all(
            isinstance(a, (int, float)) and not isinstance(a, bool) for a in alpha)
        got = repr(alpha)
    if not fits:
        raise ValueError('alpha must be a floating point tensor (alpha_h, alpha_w) of shape '
                         f'(2,), or two numbers, got {got}')


def _is_eager_on_cpu(queries: Tensor) -> bool:
    return queries.device.type == 'cpu' and not torch.compiler.is_compiling() \
        and not torch.jit.is_tracing()


class _FixedPool2d(torch.autograd.Function):
    """`dynopool2d` with a constant scale, and its winners; differentiable twice."""

    @staticmethod
    def forward(input: Tensor, reduce: str, output_size: tuple[int, int]
                ) -> tuple[Tensor, Tensor | None]:
        return reduce_with_winners(read_queries(input, output_size), reduce)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...],
                      output: tuple[Tensor, Tensor | None]) -> None:
        ctx.shape, winners = inputs[0].shape, output[1]
        if winners is not None:
            ctx.mark_non_differentiable(winners)
        ctx.save_for_backward(winners)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, _: None) -> tuple[Tensor | None, ...]:
        winners, = ctx.saved_tensors
        return grad_input(spread(grad_output, winners), ctx.shape), None, None


class _DynOPool2d(torch.autograd.Function):
    """`dynopool2d` with the anchored straight-through gradient of alpha."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, alpha: Tensor, reduce: str, output_size: tuple[int, int],
                anchor: str, window: float) -> Tensor:
        output, winners = reduce_with_winners(read_queries(input, output_size), reduce)
        ctx.save_for_backward(input, alpha, winners)
        ctx.options = (anchor, window)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        input, alpha, winners = ctx.saved_tensors
        anchor, window = ctx.options
        of_input, of_alpha = gradients(grad_output, winners, alpha, input, anchor, window,
                                       ctx.needs_input_grad[0])
        return of_input, of_alpha, None, None, None, None


class _AlphaGradient(torch.autograd.Function):
    """Passes ``output`` on and adds the anchored straight-through gradient of alpha."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, alpha: Tensor, input: Tensor, winners: Tensor | None,
                anchor: str, window: float) -> Tensor:
        ctx.save_for_backward(input, alpha, winners)
        ctx.options = (anchor, window)
        return output.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        input, alpha, winners = ctx.saved_tensors
        anchor, window = ctx.options
        _, of_alpha = gradients(grad_output, winners, alpha, input, anchor, window, False)
        return grad_output, of_alpha, None, None, None, None


class _WithZeroGradient(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, features: Tensor, parameter: Tensor) -> Tensor:
        ctx.save_for_backward(parameter)
        return features.detach()  # no view: what comes next may change it in place

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, torch.zeros_like(ctx.saved_tensors[0])
