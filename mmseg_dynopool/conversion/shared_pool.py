"""A network's DynOPool as its modules hold it, and whose turn it is if a module has several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmseg_dynopool.layers import ResizingPool

# Outputs that a DynOPool keeps: in HRNet's fusion one other tensor comes between equal ones.
_REMEMBERED = 2


class SharedPool:
    """A network's DynOPool as its modules hold it, with what one forward pass knows of it.

    Args:
        pools: the network's ``dynopools``, which own it.
        name: its name there.
        reused: some tensor is pooled more than once in a forward pass; it is computed once.

    Attributes:
        entered: ``(H, W)`` of what was last pooled.
        stays: whether no pooling of the network resizes anything in this forward pass.
    """

    def __init__(self, pools: Mapping[str, ResizingPool], name: str, reused: bool = False):
        self._pools = pools
        self.name = name
        self.reused = reused
        self.entered: tuple[int, int] | None = None
        self.begin()

    @property
    def pool(self) -> ResizingPool:
        return self._pools[self.name]

    def begin(self, alpha: Sequence[float] | None = None,
              size: Sequence[int] | None = None, stays: bool = False) -> None:
        """Begin or end a forward pass, with alpha as numbers, or the output's size, if known."""
        self._alpha = alpha
        self._size = size
        self.stays = stays
        self._pooled: list[tuple[tuple[object, ...], Tensor, Tensor]] = []

    def __getstate__(self) -> dict[str, Any]:
        # What a backward pass left behind could not be copied.
        return dict(self.__dict__, _pooled=[])

    def __call__(self, x: Tensor, reduce: str = 'max') -> Tensor:
        self.entered = x.shape[-2], x.shape[-1]
        if isinstance(x, torch.fx.Proxy):
            return self.pool(x, None, reduce)
        size = self._size
        if size is None and self._alpha is not None:
            size = self.pool.size_at(self.entered, self._alpha)
        if not self.reused or torch.compiler.is_compiling() or x.is_inference():
            return self.pool(x, size, reduce)
        # Checkpointed layers run again in the backward pass, where they have to do the same.
        backward = torch._C._current_graph_task_id()
        if self._alpha is None and backward == -1:  # nothing tells when the forward pass ends
            return self.pool(x, size, reduce)
        key = (id(x), x._version, torch.is_grad_enabled(), reduce, backward)
        for known, _, output in self._pooled:
            if known == key:
                return output
        output = self.pool(x, size, reduce)
        self._pooled = [*self._pooled, (key, x, output)][-_REMEMBERED:]
        return output


class CallOrder:
    """Whose turn it is if one pooling module serves several levels."""

    def __init__(self, pools: Sequence[SharedPool | None]):
        self.pools = list(pools)
        self.next = 0
        self._taken: list[tuple[torch.Size, SharedPool | None]] = []

    def take(self, x: Tensor) -> SharedPool | None:
        """The pooling of the next call, which gets ``x``."""
        if len(self.pools) == 1:
            return self.pools[0]
        compiling = torch.compiler.is_compiling()
        if not compiling and torch._C._current_graph_task_id() != -1:
            return self._take_again(x.shape)
        pool = self.pools[self.next]
        self.next = (self.next + 1) % len(self.pools)
        if not compiling:
            self._taken = [*self._taken, (x.shape, pool)][-len(self.pools):]
        return pool

    def _take_again(self, shape: torch.Size) -> SharedPool | None:
        """The same for a checkpointed layer that runs again in the backward pass, in any order."""
        again = list(dict.fromkeys(pool for known, pool in self._taken if known == shape))
        if len(again) != 1:
            raise RuntimeError(
                f'a pooling module that stands at {len(self.pools)} places runs again in the '
                f'backward pass, for an input of shape {tuple(shape)} that does not tell at which; '
                'use a module of its own for each place, or no checkpointing there')
        return again[0]


Turns = CallOrder  # in networks that version 0.3 pickled
