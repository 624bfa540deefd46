"""DynOPool as a function ("Pooling Revisited: Your Receptive Field is Suboptimal", CVPR 2022)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .anchor import check_anchor
from .gradient import grad_alpha, grad_input, gradients
from .queries import read_queries
from .reduce import check_reduce, reduce_queries, reduce_with_winners, spread
from .size import pooled_size


def dynopool2d(input: Tensor,
               alpha: Tensor | Sequence[float],
               output_size: Sequence[int] | None = None,
               anchor: str = 'local',
               window: float = 8,
               reduce: str = 'max') -> Tensor:
    """Pool by a factor that is learned, height and width apart.

    The output grid divides the input into ``H_out x W_out`` cells. Each cell reads the input
    bilinearly at four points, a quarter of its sides away from its centre, and keeps the
    maximum, or the mean. With ``alpha = 2`` and even sizes this is 2 x 2 max or average pooling.

    The sizes are rounded with a straight-through estimator, so ``alpha`` gets a gradient from
    where the queries lie; ``anchor`` says about which point they move when a cell grows. Where
    a query lies exactly on a pixel centre, the slope is the mean of the two one-sided slopes. The
    maximum passes on the slope of the query that has it, the mean that of all four, averaged.

    Args:
        input: floating point tensor of shape ``(N, C, H_in, W_in)``.
        alpha: floating point tensor of shape ``(2,)``: ``(alpha_h, alpha_w) = 1 / scale``; or
            two numbers, for a fixed scale.
        output_size: ``(H_out, W_out)`` when the caller knows it already; it saves reading
            ``alpha`` back from the device, and ``torch.compile`` a break of its graph. Default:
            [`pooled_size`][mmseg_dynopool.ops.pooled_size] of `alpha`.
        anchor: reference point of alpha's gradient: `'local'`, the middle of the query's own
            window; `'center'` or `'corner'` of the map; or `'none'`, with which `alpha` gets a
            gradient of zeros.
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
        output_size = check_output_size(output_size)
    else:
        output_size = read_size(input.shape[-2:], alpha)
    if anchor == 'none' and isinstance(alpha, Tensor) and alpha.requires_grad \
            and torch.is_grad_enabled() and not torch.jit.is_tracing():
        output = dynopool2d(input, alpha.detach(), output_size, reduce=reduce)
        return _NoAlphaGradient.apply(output, alpha)
    learns = isinstance(alpha, Tensor) and alpha.requires_grad
    # A trace holds operators alone, and alpha as a constant.
    if torch.jit.is_tracing() or not torch.is_grad_enabled() or not (
            learns or input.requires_grad):
        return reduce_queries(read_queries(input, output_size), reduce)
    if not torch.compiler.is_compiling():
        if not learns:
            return _FixedPool2d.apply(input, reduce, output_size)[0]
        return _DynOPool2d.apply(input, alpha, reduce, output_size, anchor, window)
    # The compiler differentiates the operators itself and decides what to keep.
    queries = read_queries(input, output_size)
    if not learns:
        return reduce_queries(queries, reduce)
    output, winners = reduce_with_winners(queries, reduce)
    return _AlphaGradient.apply(output, alpha, input.detach(), winners, anchor, window)


def read_size(size: Sequence[int], alpha: Tensor | Sequence[float]) -> tuple[int, int]:
    """`pooled_size` of numbers, or of a tensor, which may be on another device."""
    return _read_size(size, alpha) if isinstance(alpha, Tensor) else pooled_size(size, alpha)


@torch.compiler.disable
def _read_size(size: Sequence[int], alpha: Tensor) -> tuple[int, int]:
    """`pooled_size` of a tensor.

    Compiled code calls this as it is. So it sees sizes, integers that may change from call to
    call, and not alpha, whose value changes with every step.
    """
    return pooled_size(size, alpha.tolist())


def check_input(input: Tensor) -> None:
    """Check a feature map or image batch.

    Raises:
        ValueError: it is not 4-D, has an empty side or holds integers.
    """
    if isinstance(input, torch.fx.Proxy):
        return  # of which nothing is known
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
    """Check an ``output_size`` that a caller gives.

    Raises:
        ValueError: it is not two whole numbers of at least 1.
    """
    traced = torch.jit.is_tracing()
    if not isinstance(size, Sequence) or len(size) != 2 or any(
            not isinstance(n, (int, torch.SymInt)) or n < 1
            for n in size if not (traced and isinstance(n, Tensor))):
        raise ValueError(f'output_size must be two whole numbers >= 1, got {size!r}')
    return size[0], size[1]


def _check_alpha(alpha: Tensor | Sequence[float]) -> None:
    if isinstance(alpha, Tensor):
        fits = alpha.is_floating_point() and (
            torch.jit.is_tracing() or alpha.shape == (2, ))
    else:
        fits = isinstance(alpha, (tuple, list)) and len(alpha) == 2 and all(
            isinstance(a, (int, float)) and not isinstance(a, bool) for a in alpha)
    if not fits:
        got = (f'{alpha.dtype} of shape {tuple(alpha.shape)}'
               if isinstance(alpha, Tensor) else repr(alpha))
        raise ValueError('alpha must be a floating point tensor (alpha_h, alpha_w) of shape '
                         f'(2,), or two numbers, got {got}')


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


class _NoAlphaGradient(torch.autograd.Function):
    """Passes ``output`` on and gives alpha zeros: who waits for its gradient, as DDP, gets one."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, alpha: Tensor) -> Tensor:
        ctx.save_for_backward(alpha)
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        return grad_output, torch.zeros_like(ctx.saved_tensors[0])


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
        of_alpha = grad_alpha(grad_output, winners, alpha, input, *ctx.options)
        return grad_output, of_alpha, None, None, None, None
