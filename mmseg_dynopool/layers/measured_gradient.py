"""Alpha's gradient measured: the loss at somewhat larger and smaller sizes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .dynopool import DynOPool


@torch.no_grad()
def measure_alpha_gradient(model: nn.Module, pools: Mapping[str, DynOPool],
                           loss: Callable[[], Tensor], turn: int,
                           step: float = 0.1) -> dict[str, Tensor]:
    """An estimate of the gradient of ``loss`` by the alphas, from two forward passes.

    The straight-through gradient follows the positions that one pooling reads; how the layers
    behind it, their kernels and the upsampling take another density of cells, it does not see.
    The difference of two losses does.

    The DynOPools take turns, so that those of little effect are free of the noise of the others.
    Both axes of one are changed at once, alike in one round of turns and against each other in
    the next (SPSA: Spall, IEEE Trans. Automatic Control 37, 1992). The estimate is multiplied by
    their number: its mean over two rounds is the gradient, that of a central difference.

    Parameters, buffers (running statistics) and random states are afterwards as they were.

    Args:
        model: the network; its buffers are kept.
        pools: those to measure, by name.
        loss: runs the network at the current alphas and returns the loss, a scalar. Both passes
            draw the same random numbers (dropout).
        turn: number of the estimate: 0, 1, 2, ...
        step: by how much ``log(alpha)`` is changed, up and down.

    Returns:
        ``{name: estimate of shape (2,)}``, zeros for those whose turn it is not.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.layers import DynOPool, measure_alpha_gradient
        >>> pool, image = DynOPool(), torch.arange(256.0).reshape(1, 1, 16, 16)
        >>> loss = lambda: pool(image).mean()
        >>> measure_alpha_gradient(pool, {'stride2': pool}, loss, turn=0)
        {'stride2': tensor([5.6592, 5.6592])}
    """
    rounds, index = divmod(turn, len(pools))
    alpha = list(pools.values())[index].alpha
    direction = alpha.new_tensor([1, 1 - 2 * (rounds % 2)])
    with _kept([alpha, *model.buffers()]) as (start, *_):
        losses = []
        for sign in (1, -1):
            alpha.copy_(start * (sign * step * direction).exp())
            losses.append(_with_random_numbers_of(turn, alpha.device, loss))
        slope = (losses[0] - losses[1]) / (2 * step)
    estimate = len(pools) * slope * direction / start
    return {name: estimate if pool.alpha is alpha else torch.zeros_like(pool.alpha)
            for name, pool in pools.items()}


def _with_random_numbers_of(turn: int, device: torch.device, loss: Callable[[], Tensor]) -> Tensor:
    with torch.random.fork_rng([device] if device.type == 'cuda' else []):
        torch.manual_seed(turn)
        return loss()


@contextmanager
def _kept(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Put the values of tensors back, whatever happens; yields them."""
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        yield before
    finally:
        for tensor, value in zip(tensors, before):
            tensor.copy_(value)
