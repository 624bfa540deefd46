"""What a network with learned sizes, its cost and its training need to know of a pooling."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmseg_dynopool.ops import pooled_size

IMAGE = 'image'  # the name of the image's own resize among a network's poolings

# Since PyTorch 2.7; before, exporting learned scales fails with PyTorch's own message.
_is_exporting = getattr(torch.compiler, 'is_exporting', bool)


class ResizingPool(nn.Module):
    """Base of the poolings whose scale is learned or was learned.

    A subclass defines ``forward(input, output_size=None, reduce='max')``, `bounded_alpha` and
    `set_alpha_`; one that learns also ``bounds`` and `parameter`. ``reduce`` is an argument of the
    call because layers that share an instance may replace different things: ``'max'`` a stride or a
    max pooling, ``'mean'`` an average pooling, which stays an average.

    Attributes:
        learns: whether the scale is learned, by one parameter.
        initial_scale: the scale at construction, ``(scale_h, scale_w)``.
        stock_scale: the scale that gives the stock network's sizes, ``(scale_h, scale_w)``.
        bounds: lowest and highest scale factor.
        tied: whether both axes have one scale.
        limits: name of the argument that gives the lowest and highest scale.
        reach: by default the lowest is the network's own scale divided by this, the highest 1.
        macs_per_value: multiply-adds of the pooling itself per value of its output.

    Examples:
        >>> from mmseg_dynopool.layers import DynOPool, ResizingPool, ShapeAdaptor
        >>> pools = [DynOPool((0.5, 0.25)), ShapeAdaptor(0.5)]
        >>> [pool.output_size((64, 64)) for pool in pools if isinstance(pool, ResizingPool)]
        [(32, 16), (32, 32)]
    """

    learns = True
    bounds: tuple[float, float]
    initial_scale: tuple[float, float]
    stock_scale: tuple[float, float] = (0.5, 0.5)
    tied = False
    limits = 'bounds'
    reach = 4.0
    macs_per_value: int
    _trial_alpha: Tensor | None = None
    _trial_mode = True

    @property
    def alpha_bounds(self) -> tuple[float, float]:
        """Lowest and highest alpha."""
        return 1 / self.bounds[1], 1 / self.bounds[0]

    @property
    def parameter(self) -> nn.Parameter:
        """What is learned: alpha itself, or a number that alpha is a function of."""
        # No NotImplementedError: torch.jit.trace asks each module for all of its attributes.
        raise AttributeError(f'{type(self).__name__} learns no scale, so it has no parameter')

    def bounded_alpha(self) -> Tensor:
        """``(1 / scale_h, 1 / scale_w)`` in use, inside the bounds; with the parameter's gradient.

        Not finite if the parameter is not.
        """
        raise NotImplementedError

    @property
    def trial_alpha(self) -> Tensor | None:
        """The alpha ``(2,)`` that a learner sets in place of the parameter's, or None.

        Only in the mode (training or evaluation) in which it was set: after a training that an
        error ended, a network predicts at its own scales. Copies drop it.
        """
        return self._trial_alpha if self.training == self._trial_mode else None

    @trial_alpha.setter
    def trial_alpha(self, alpha: Tensor | None) -> None:
        self._trial_alpha, self._trial_mode = alpha, self.training

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _trial_alpha=None)

    def set_alpha_(self, alpha: Sequence[float] | Tensor) -> None:
        """Set alpha ``(alpha_h, alpha_w)``, of a learned scale inside its bounds."""
        raise NotImplementedError

    def read_alpha(self) -> tuple[float, float]:
        """`bounded_alpha` as Python numbers; reads the device if the scale is learned."""
        return tuple(self.bounded_alpha().tolist())

    @property
    def scale(self) -> Tensor:
        """Scale factors in use, ``(scale_h, scale_w)``, without a gradient."""
        return 1 / self.bounded_alpha().detach()

    def output_size(self, size: Sequence[int]) -> tuple[int, int]:
        """``(H_out, W_out)`` for an input of ``size = (H_in, W_in)``; see `read_alpha`."""
        return self.size_at(size, self.read_alpha())

    def size_at(self, size: Sequence[int], alpha: Sequence[float]) -> tuple[int, int]:
        """``(H_out, W_out)`` at ``alpha``, as Python numbers."""
        return pooled_size(size, alpha)

    def project_(self) -> None:
        """Move the parameter into its bounds. For use after an optimizer's step."""

    def for_counting(self) -> 'ResizingPool':
        """A constant of the current size and cost, for counting; its values differ."""
        from .dynopool import FixedDynOPool  # which imports this file

        return FixedDynOPool.with_cost_of(self)

    @property
    def can_be_constant(self) -> bool:
        """Whether it is constant, or has a `freeze` that was written for its ``forward``."""
        written = next(kind for kind in type(self).__mro__ if {'forward', 'freeze'} & {*vars(kind)})
        return not self.learns or 'freeze' in vars(written)

    def freeze(self) -> 'ResizingPool':
        """The same operation, bit for bit, with the current scale as a constant.

        Raises:
            ValueError: the pooling has no such form.
        """
        raise ValueError(f'cannot freeze or export a {type(self).__name__}: it has no form with a '
                         'constant scale. DynOPools can be frozen; use '
                         "dynopool=dict(type='DynOPool')")


def read_alphas(pools: Mapping[str, ResizingPool]) -> dict[str, tuple[float, float]]:
    """`ResizingPool.read_alpha` of each pooling, with one read from their device.

    Raises:
        ValueError: an alpha is not finite, or has no value, as in ``torch.export``.
    """
    learned = {name: pool for name, pool in pools.items() if pool.learns}
    alphas = {name: pool.read_alpha() for name, pool in pools.items() if not pool.learns}
    if learned:
        if _is_exporting():
            raise ValueError('torch.export sees no values, and the sizes follow from those of the '
                             'learned scales; export mmseg_dynopool.layers.freeze_pools(model)')
        stacked = torch.stack([pool.bounded_alpha().detach() for pool in learned.values()])
        alphas |= zip(learned, map(tuple, stacked.tolist()))
    for name, alpha in alphas.items():
        if not all(map(math.isfinite, alpha)):
            raise ValueError(f'alpha of DynOPool {name!r} is not finite, {alpha}: the training '
                             'diverged; resume from the last good checkpoint with a lower lr')
    return {name: alphas[name] for name in pools}


@torch.compiler.disable
def sizes_for_compiler(sizes_of: Callable[[Sequence[int]], Mapping[str, Sequence[int]]],
                       image_size: Sequence[int]) -> dict[str, Tensor]:
    """The sizes for an image, as shapes of empty tensors that are marked as dynamic.

    Compiled code takes integers for constants until it has seen each one change. This is its one
    graph break, so that it does not see alpha, whose value changes with every step. The size of an
    image that is not resized is left out, so that compiled code does nothing there.
    """
    shapes = {}
    for name, size in sizes_of(image_size).items():
        if name != IMAGE or tuple(size) != tuple(image_size):
            shapes[name] = torch.empty(tuple(size), device='meta')
            torch._dynamo.maybe_mark_dynamic(shapes[name], [0, 1])
    return shapes
