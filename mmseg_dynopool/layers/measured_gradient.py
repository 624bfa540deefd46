"""Alpha's gradient measured: the loss at somewhat larger and smaller sizes."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .dynopool import DynOPool


@torch.no_grad()
def measure_alpha_gradient(model: nn.Module, pools: Mapping[str, DynOPool],
                           loss: Callable[[], Tensor], turn: int,
                           step: float = 0.1) -> dict[str, Tensor]:
    """An estimate of the gradient of ``loss`` by each alpha, from two forward passes.

    The straight-through gradient follows the positions that one pooling reads; how the layers
    behind it, their kernels and the upsampling take another density of cells, it does not see.
    The difference of two losses does (SPSA: Spall, IEEE Trans. Automatic Control 37, 1992).

    All alphas are changed at once, each up or down as ``turn`` says. What one of them adds to the
    estimates of the others changes its sign from turn to turn and cancels over a cycle of turns,
    whose length is the next power of 2 above the number of alphas.

    Parameters, buffers (running statistics) and random states are afterwards as they were.

    Args:
        model: the network; its buffers are kept.
        pools: those to measure, by name.
        loss: runs the network at the current alphas and returns the loss, a scalar. Both passes
            draw the same random numbers (dropout).
        turn: number of the estimate: 0, 1, 2, ...
        step: by how much ``log(alpha)`` is changed, up and down.

    Returns:
        ``{name: gradient of shape (2,)}``.
    """
    alphas = [pool.alpha for pool in pools.values()]
    signs = _signs(2 * len(alphas), turn)
    directions = [torch.tensor(signs[2 * k:2 * k + 2], device=alpha.device, dtype=alpha.dtype)
                  for k, alpha in enumerate(alphas)]
    with _kept(model, alphas) as start:
        losses = []
        for sign in (1, -1):
            for alpha, before, direction in zip(alphas, start, directions):
                alpha.copy_(before * (sign * step * direction).exp())
            losses.append(_with_random_numbers_of(turn, alphas[0].device, loss))
        slope = (losses[0] - losses[1]) / (2 * step)
        return {name: slope * direction / before
                for name, direction, before in zip(pools, directions, start)}


def _signs(count: int, turn: int) -> list[int]:
    """Rows of a Hadamard matrix, one column for each number: any two are orthogonal."""
    return [1 - 2 * (((k + 1) & turn).bit_count() % 2) for k in range(count)]


def _with_random_numbers_of(turn: int, device: torch.device, loss: Callable[[], Tensor]) -> Tensor:
    with torch.random.fork_rng([device] if device.type == 'cuda' else []):
        torch.manual_seed(turn)
        return loss()


@contextmanager
def _kept(model: nn.Module, alphas: list[Tensor]):
    """Put alphas and buffers back, whatever happens; yields the alphas' values."""
    tensors = [*alphas, *model.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        yield before[:len(alphas)]
    finally:
        for tensor, value in zip(tensors, before):
            tensor.copy_(value)
