"""The scales that learn, as one vector: the logarithms of the alphas."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmseg_dynopool.costs.cost import Cost, LearnedMap
from mmseg_dynopool.layers import ImageResize, ResizingPool, learned_pools


class Limits(NamedTuple):
    """Where the vector may lie: ``low <= v <= high`` and ``rows @ v <= most``.

    Attributes:
        low, high: ``(n,)``, the bounds of the scales.
        rows: ``(m, n)``, one for each height or width of a map that may not become smaller.
        most: ``(m,)``.
    """

    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray
    most: np.ndarray

    def and_below(self, row: np.ndarray, most: float) -> 'Limits':
        """These limits and ``row @ v <= most``."""
        return self._replace(rows=np.vstack([self.rows, row]), most=np.append(self.most, most))


class LearnedScales:
    """The scales that a training moves, as a vector ``v = log(alpha)`` of ``n`` numbers in double.

    Height and width of each pooling in turn; a pooling of tied axes has one number. Poolings that
    are frozen (their parameter does not require a gradient) or whose bounds are equal are left
    out, and the cost sees them as they are.

    Attributes:
        pools: all its poolings that learn, by name.
        parts: ``{name: slice}``, the place in the vector of each that moves.
        coarseness: ``(n,)``, the change that moves an image's aligned size by one step; else 0.

    Examples:
        >>> from mmseg_dynopool.layers import DynOPool
        >>> from mmseg_dynopool.learning import LearnedScales
        >>> scales = LearnedScales(DynOPool((0.5, 0.25)))
        >>> scales.read().round(3)
        array([0.693, 1.386])
    """

    def __init__(self, model: nn.Module):
        self.pools: dict[str, ResizingPool] = learned_pools(model)
        self.parts: dict[str, slice] = {}
        self.size = 0
        for name, pool in self.pools.items():
            if pool.parameter.requires_grad and pool.alpha_bounds[0] < pool.alpha_bounds[1]:
                self.parts[name] = slice(self.size, self.size + (1 if pool.tied else 2))
                self.size = self.parts[name].stop
        self.coarseness = np.zeros(self.size)

    def read(self) -> np.ndarray:
        """The current values ``(n,)``, inside their bounds, in one read from the device."""
        if not self.parts:
            return np.zeros(0)
        alphas = torch.stack([self.pools[name].bounded_alpha().detach().double()
                              for name in self.parts]).cpu().log().numpy()
        return np.concatenate([alpha[:part.stop - part.start]
                               for alpha, part in zip(alphas, self.parts.values())])

    def tensors(self, values: Tensor) -> dict[str, Tensor]:
        """``{instance: (alpha_h, alpha_w)}`` of all poolings, differentiable in ``values``."""
        return {name: values[self.parts[name]].exp().expand(2) if name in self.parts
                else pool.bounded_alpha().detach().to(values) for name, pool in self.pools.items()}

    def alphas(self, values: np.ndarray) -> dict[str, list[float]]:
        """``{instance: [alpha_h, alpha_w]}`` of those that move, as their parameters hold them."""
        return dict(zip(self.parts, self._stacked(values).tolist()))

    def write_(self, values: np.ndarray) -> None:
        """Set the parameters."""
        for name, alpha in self._on_device(values).items():
            self.pools[name].set_alpha_(alpha)

    @contextmanager
    def at(self, values: np.ndarray) -> Iterator[None]:
        """Put the network at other scales; its parameters are restored exactly."""
        before = {name: self.pools[name].parameter.detach().clone() for name in self.parts}
        self.write_(values)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in before.items():
                    self.pools[name].parameter.copy_(parameter)

    def start_trial_(self, values: np.ndarray) -> None:
        """Let passes run at ``values``, without a gradient of the scales; no parameter changes."""
        for name, alpha in self._on_device(values).items():
            self.pools[name].trial_alpha = alpha

    def end_trial_(self) -> None:
        """Let passes run at the parameters again."""
        for name in self.parts:
            self.pools[name].trial_alpha = None

    def log_cost(self, cost: Cost, values: np.ndarray) -> tuple[float, np.ndarray]:
        """The logarithm of the cost, sizes not rounded, and its gradient ``(n,)``."""
        leaf = torch.from_numpy(values).requires_grad_()
        with torch.enable_grad():
            # A cost need not depend on each scale, or on any.
            log = cost(self.tensors(leaf)).log() + 0 * leaf.sum()
            gradient, = torch.autograd.grad(log, leaf)
        return log.item(), gradient.numpy()

    def note_coarseness(self, maps: Sequence[LearnedMap], values: np.ndarray) -> None:
        """Set `coarseness` at ``values``; ``maps`` are the outputs of the poolings."""
        for name, size, _ in maps:
            if name in self.parts and isinstance(self.pools[name], ImageResize):
                part, pool = self.parts[name], self.pools[name]
                side = np.array(size) * np.exp(-values[part]) / np.array(pool.initial_scale)
                self.coarseness[part] = (pool.multiple / side)[:part.stop - part.start]

    def limits(self, maps: Sequence[LearnedMap] = (), smallest: int = 1,
               start: np.ndarray | None = None) -> Limits:
        """The bounds of the scales, and of the sizes of maps, the outputs of the poolings.

        A height or width keeps at least ``smallest`` cells, unless it has fewer at ``start``, the
        vector at which the training began (default: the current one).
        """
        low, high = np.zeros(self.size), np.zeros(self.size)
        for name, part in self.parts.items():
            low[part], high[part] = map(math.log, self.pools[name].alpha_bounds)
        now = self.read() if start is None else start
        limits = Limits(low, high, np.zeros((0, self.size)), np.zeros(0))
        for _, axis, size, exponents in _sides(maps):
            row = np.zeros(self.size)
            log_size = math.log(size)
            for name, exponent in exponents.items():
                pool = self.pools[name]
                initial = -math.log(pool.initial_scale[axis])
                if name in self.parts:
                    part = self.parts[name]
                    row[min(part.start + axis, part.stop - 1)] += exponent
                    log_size += exponent * initial
                else:
                    log_size -= exponent * (math.log(pool.read_alpha()[axis]) - initial)
            room = log_size - math.log(smallest)
            is_held = ((limits.rows == row).all(1) & (limits.most <= room)).any()
            # With a tolerance: a side with exactly that many cells is limited, too.
            if row.any() and row @ now <= room + 1e-6 and not is_held:
                limits = limits.and_below(row, max(room, row @ now))
        return limits

    def small_maps(self, maps: Sequence[LearnedMap], smallest: int) -> list[str]:
        """Maps that have fewer than ``smallest`` rows or columns at the initial scales."""
        return [f'{name} ({size:.3g} {"columns" if axis else "rows"})'
                for name, axis, size, _ in _sides(maps) if size < smallest]

    def _stacked(self, values: np.ndarray) -> Tensor:
        """The alphas of those that move, ``(poolings, 2)``, on the CPU."""
        if not self.parts:
            return torch.zeros(0, 2)
        alphas = torch.stack([torch.from_numpy(values[part]).exp().expand(2)
                              for part in self.parts.values()])
        return alphas.to(self.pools[next(iter(self.parts))].parameter.dtype)

    def _on_device(self, values: np.ndarray) -> dict[str, Tensor]:
        """The alphas of those that move, in one copy to their device."""
        if not self.parts:
            return {}
        device = self.pools[next(iter(self.parts))].parameter.device
        return dict(zip(self.parts, self._stacked(values).to(device, non_blocking=True)))


def _sides(maps: Sequence[LearnedMap]) -> Iterator[tuple[str, int, float, dict[str, float]]]:
    """``(pooling, axis, size, exponents)`` of each map's height and width."""
    for name, size, exponents in maps:
        for axis in (0, 1):
            yield name, axis, size[axis], {
                pool: pair[axis] for pool, pair in exponents.items() if pair[axis]}
