"""Trial forwards of a converted copy on the meta device: what the trace misjudged shows here."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmseg_dynopool.complexity.meta_copy import QuickShapes

from .levels import Refusal
from .plan import ConversionPlan

_TRIALS = 3
_MEND = 'skip the strided layers above it, or convert a part of the network'


class Trial:
    """Runs a stock and a converted copy of a network, both on the meta device.

    Args:
        stock, converted: the copies; the latter's scales are constants.
        plan: of the conversion. Gets the refusals and notes, and loses a size chain that is
            wrong.
        channels: of the image.
        forward: runs a copy.
    """

    def __init__(self, stock: nn.Module, converted: nn.Module, plan: ConversionPlan,
                 channels: int, forward: Callable | None):
        self._stock, self._converted = stock, converted
        self._plan = plan
        self._channels = channels
        self._forward = forward or (lambda network, image: network(image))
        self._running: list[str] = []
        self._pooled: dict[str, tuple[int, int]] = {}
        for name, module in converted.named_modules():
            module.register_forward_pre_hook(lambda module, args, name=name:
                                             self._running.append(name))
            module.register_forward_hook(lambda module, args, output: self._finish())
        for name, pool in converted.dynopools.items():
            pool.register_forward_hook(lambda module, args, output, name=name: self._pooled.update(
                {name: tuple(output.shape[-2:])}))

    def run(self, size: tuple[int, int]) -> None:
        """All trials, at an image size that is a multiple of every stride."""
        whole = self._image(size)
        expected = self._shapes(self._stock, whole)
        self._set_scales(self._plan.stock_scales)
        started = self._try(whole, 'at the stock scales')
        if started is None:
            return
        if started != expected:
            self._refuse(f'at the stock scales its outputs have {_sizes(started)}, the stock '
                         f'network\'s {_sizes(expected)}')
            return
        odd = self._image((size[0] + 1, size[1] + 17))
        try:
            stock_odd = self._shapes(self._stock, odd)
        except Exception:  # from any network: it takes no such images
            stock_odd = None
        if stock_odd is not None:
            converted_odd = self._try(odd, 'at {} x {} pixels'.format(*odd.shape[2:]))
            if converted_odd is not None and converted_odd != stock_odd:
                self._plan.notes.append(
                    'sizes are rounded, ties up: at '
                    f'{odd.shape[2]} x {odd.shape[3]} pixels the stock network\'s outputs '
                    f'have {_sizes(stock_odd)}, the converted one\'s {_sizes(converted_odd)}')
        generator = random.Random(0)
        for _ in range(_TRIALS):
            self._set_scales({name: [min(1.0, s * generator.uniform(0.7, 1.4)) for s in scale]
                              for name, scale in self._plan.stock_scales.items()})
            shapes = self._try(whole, 'at other scales')
            if shapes is None:
                return
            if not self._fit(shapes, expected, size):
                self._refuse(f'at other scales its outputs have {_sizes(shapes)}, the stock '
                             f'network\'s {_sizes(expected)}')
                return

    def _image(self, size) -> Tensor:
        return torch.empty(1, self._channels, *size, device='meta')

    def _set_scales(self, scales) -> None:
        for name, pool in self._converted.dynopools.items():
            pool.set_scale_(list(scales[name]))

    def _shapes(self, network, image) -> list[tuple]:
        with torch.no_grad(), QuickShapes():
            outputs = self._forward(network, image)
        return [tuple(leaf.shape) for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]

    def _try(self, image, where: str) -> list[tuple] | None:
        """Shapes of the outputs, or None if the network fails, which is a refusal."""
        self._running.clear()
        self._pooled.clear()
        try:
            shapes = self._shapes(self._converted, image)
        except Exception as error:  # from any network, of any type
            self._refuse(f'it fails {where} ({type(error).__name__}: {error})',
                         self._running[-1] if self._running else '')
            return None
        chain = self._plan.size_chain
        if chain is not None:
            alphas = {n: p.read_alpha() for n, p in self._converted.dynopools.items()}
            if chain.sizes(image.shape[-2:], alphas) != self._pooled:
                self._plan.size_chain = None
        return shapes

    def _fit(self, shapes, expected, size) -> bool:
        """Whether nothing but height and width changed, and a map of the image's size is one."""
        return len(shapes) == len(expected) and all(
            len(a) == len(b) and a[:2] == b[:2] and (b[2:] != size or a[2:] == size)
            if len(b) == 4 else len(a) == len(b) and a[:1] == b[:1]
            for a, b in zip(shapes, expected))

    def _finish(self) -> None:
        self._running.pop()

    def _refuse(self, reason: str, module: str = '') -> None:
        self._plan.refusals.append(Refusal(module, reason, _MEND))


def _sizes(shapes) -> str:
    return ', '.join('{} x {}'.format(*shape[2:]) for shape in shapes if len(shape) == 4) or str(
        shapes)
