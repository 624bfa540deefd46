"""Trial forwards of a converted copy on the meta device: what the trace misjudged shows here."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmseg_dynopool.costs.meta_copy import QuickShapes, note_running
from mmseg_dynopool.layers import FixedDynOPool
from mmseg_dynopool.layers.image import IMAGE

from .levels import Refusal
from .plan import ConversionPlan

_Shapes = list[tuple[int, ...]]
_TRIALS = 3
_MEND = 'skip the strided layers above it, or convert a part of the network'


class Trial:
    """Runs a copy on the meta device as it is, and again when it is converted.

    The plan gets refusals and notes, and loses a size chain that is wrong. The sides of the image
    are multiples of every stride.
    """

    def __init__(self, network: nn.Module, plan: ConversionPlan, image: Tensor,
                 forward: Callable):
        self._network = network
        self._plan = plan
        self._forward = forward
        self._whole = image
        height, width = image.shape[2:]
        self._odd = image.new_empty(*image.shape[:2], height + 1, width + 17)
        self._stock = self._shapes(self._whole)
        try:
            self._stock_odd: _Shapes | None = self._shapes(self._odd)
        except Exception:  # the network takes no such images
            self._stock_odd = None

    def run(self) -> bool:
        """Try the converted copy; True if it fails on images whose sides are odd multiples."""
        self._running = note_running(self._network)
        self._pooled: dict[str, tuple[int, int]] = {}
        self._pools = cast(Mapping[str, FixedDynOPool], self._network.dynopools)
        for name, pool in self._pools.items():
            pool.register_forward_hook(lambda module, args, output, name=name: self._pooled.update(
                {name: tuple(output.shape[-2:])}))
        self._set_scales(self._plan.stock_scales)
        started = self._try(self._whole, 'at the stock scales')
        if started is None:
            return False
        if IMAGE in self._pools and IMAGE not in self._pooled:
            self._plan.refusals.append(Refusal(
                '', 'its forward, where the image is resized, does not run',
                'let forward=lambda network, image: ... call the network itself'))
            return False
        if started != self._stock:
            self._refuse(f'at the stock scales its outputs have {_sizes(started)}, the stock '
                         f'network\'s {_sizes(self._stock)}')
            return False
        if self._stock_odd is not None:
            at = '{} x {} pixels'.format(*self._odd.shape[2:])
            converted_odd = self._try(self._odd, f'at {at}')
            if converted_odd is not None and converted_odd != self._stock_odd:
                self._plan.notes.append(
                    f'sizes are rounded, ties up: at {at} the stock network\'s outputs have '
                    f'{_sizes(self._stock_odd)}, the converted one\'s {_sizes(converted_odd)}')
        if IMAGE in self._pools and not self._at_an_odd_multiple():
            return True
        generator = random.Random(0)
        for _ in range(_TRIALS):
            self._set_scales({name: [min(1.0, s * generator.uniform(0.7, 1.4)) for s in scale]
                              for name, scale in self._plan.stock_scales.items()})
            shapes = self._try(self._whole, 'at other scales')
            if shapes is not None and not self._fit(shapes):
                self._refuse(f'at other scales its outputs have {_sizes(shapes)}, the stock '
                             f'network\'s {_sizes(self._stock)}')
            if self._plan.refusals:
                break
        return False

    def _at_an_odd_multiple(self) -> bool:
        """Whether it takes an image whose sides are odd multiples of the plan's multiple."""
        multiple = self._plan.multiple or 1
        sizes = [multiple * (round(0.8 * n / multiple) // 2 * 2 + 1) for n in self._whole.shape[2:]]
        self._set_scales(dict(self._plan.stock_scales, **{IMAGE: [
            size / n for size, n in zip(sizes, self._whole.shape[2:])]}))
        return self._try(self._whole, 'at an image of {} x {}'.format(*sizes)) is not None

    def _set_scales(self, scales: Mapping[str, Sequence[float]]) -> None:
        for name, pool in self._pools.items():
            pool.set_scale_(list(scales[name]))

    def _shapes(self, image: Tensor) -> _Shapes:
        with torch.no_grad(), QuickShapes():
            outputs = self._forward(self._network, image)
        return [tuple(leaf.shape) for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]

    def _try(self, image: Tensor, where: str) -> _Shapes | None:
        """Shapes of the outputs, or None if the network fails, which is a refusal."""
        self._running.clear()
        self._pooled.clear()
        try:
            shapes = self._shapes(image)
        except Exception as error:  # from any network, of any type
            self._refuse(f'it fails {where} ({type(error).__name__}: {error})',
                         self._running[-1] if self._running else '')
            return None
        if self._plan.size_chain is not None and (
                cast(Any, self._network).feature_sizes(image.shape[-2:]) != self._pooled):
            self._plan.size_chain = None
        return shapes

    def _fit(self, shapes: _Shapes) -> bool:
        """Whether only height and width changed, and a map of the image's size still has it."""
        size = tuple(self._whole.shape[2:])

        def fits(shape: tuple[int, ...], stock: tuple[int, ...]) -> bool:
            fixed = 2 if len(stock) == 4 else 1  # before height and width
            return len(shape) == len(stock) and shape[:fixed] == stock[:fixed] and (
                stock[fixed:] != size or shape[fixed:] == size)

        return len(shapes) == len(self._stock) and all(map(fits, shapes, self._stock))

    def _refuse(self, reason: str, module: str = '') -> None:
        self._plan.refusals.append(Refusal(module, reason, _MEND))


def _sizes(shapes: _Shapes) -> str:
    return ', '.join('{} x {}'.format(*shape[2:]) for shape in shapes if len(shape) == 4) or str(
        shapes)
