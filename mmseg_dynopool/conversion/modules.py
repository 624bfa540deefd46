"""What a converted network itself becomes: a subclass of its own class, as its modules do."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from mmseg_dynopool.layers.image import IMAGE, add_zero_gradient, restore_size
from mmseg_dynopool.layers.pool import ResizingPool, as_dynamic_shapes, read_alphas
from mmseg_dynopool.ops import image_resize2d
from mmseg_dynopool.ops.queries import equal_sizes

from .shared_pool import CallOrder, SharedPool
from .sizes import SizeChain

# Networks that version 0.3 pickled name these here.
from .variants import DynOPooling, Following, PooledModule, Variant, _restore  # noqa: F401

Pooled = PooledModule


class Converted(Variant):
    """The network: reads every alpha once in a forward pass, and hands it to the poolings.

    Attributes:
        dynopools: ``ModuleDict`` of the poolings by level.
        shared_pools: the `SharedPool` of each.
        all_turns: the `CallOrder` of each of its poolings.
        size_chain: how the levels' sizes follow from the image's, or None.
        norms: ``{norm: convolution}`` that a DynOPool stands between.
    """

    prefix = 'Converted'
    dynopools: Mapping[str, ResizingPool]  # a ModuleDict, which is no Mapping by type
    shared_pools: Mapping[str, SharedPool]
    all_turns: Sequence[CallOrder]
    size_chain: SizeChain | None
    restores_size = True
    norms: Mapping[str, str] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(leaf, Proxy) for leaf in tree_leaves((args, kwargs))):
            return self._trace_symbolically(args, kwargs)
        if not torch.compiler.is_compiling():
            self._check_norms()
        models = None
        if torch.compiler.is_compiling() and any(p.learns for p in self.dynopools.values()):
            models = {}
            if self.size_chain is not None or IMAGE in self.dynopools:
                # One read, and here: a break of the graph inside of a call is several.
                models = self._read_models(_image_size(args, kwargs))
        if IMAGE not in self.dynopools:
            return self._run_with_pools(args, kwargs, models)
        leaves, structure = tree_flatten((args, kwargs))
        index = next((i for i, leaf in enumerate(leaves) if _is_image(leaf)), 0)
        image = leaves[index]
        size, resize = image.shape[-2:], self.dynopools[IMAGE]
        if models is None:
            resized = resize.output_size(size)
        else:
            resized = tuple(models[IMAGE].shape if IMAGE in models else size)
        leaves[index] = resize(image, resized)
        args, kwargs = tree_unflatten(leaves, structure)
        outputs = self._run_with_pools(args, kwargs, models)
        if not self.restores_size or equal_sizes(resized, size):
            return outputs
        return restore_size(outputs, resized, size)

    def _check_norms(self) -> None:
        """Raise a RuntimeError where a norm was folded past a DynOPool."""
        for norm, conv in self.norms.items():
            parent, _, name = norm.rpartition('.')
            if type(getattr(self.get_submodule(parent), name, None)) in (nn.Identity, NoneType):
                raise RuntimeError(
                    f'the norm {norm!r} was folded into {conv!r}, behind which a DynOPool stands: '
                    'the maximum of what is not normalized is another one. Fold norms before the '
                    "conversion, or convert with rule='before'")

    def _trace_symbolically(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """For torch.fx, whose graph reads an alpha wherever it pools."""
        self._begin({})
        leaves, structure = tree_flatten((args, kwargs))
        index = next(i for i, leaf in enumerate(leaves) if isinstance(leaf, Proxy))
        learned = [pool.parameter for pool in self.dynopools.values() if pool.learns]
        image = resized = carry_parameters(leaves[index], learned)
        if IMAGE in self.dynopools:
            resize: Any = self.dynopools[IMAGE]
            alpha = resize.bounded_alpha() if resize.learns else resize.read_alpha()
            resized = image_resize2d(image, alpha, resize.multiple)
        leaves[index] = resized
        args, kwargs = tree_unflatten(leaves, structure)
        try:
            outputs = super().forward(*args, **kwargs)
        finally:
            self._begin({})
            self._forget_sizes()
        return outputs if resized is image or not self.restores_size else restore_like(
            outputs, image, resized)

    def _run_with_pools(self, args: Sequence[Any], kwargs: Mapping[str, Any],
                        models: Mapping[str, Tensor] | None) -> Any:
        """The stock network; ``models`` of the sizes if it is being compiled."""
        outputs = self._call(args, kwargs, models)
        for pool in self.dynopools.values():
            outputs = add_zero_gradient(outputs, pool)
        return outputs

    def _call(self, args: Sequence[Any], kwargs: Mapping[str, Any],
              models: Mapping[str, Tensor] | None) -> Any:
        if models is not None:
            self._begin({})
            for name, shared in self.shared_pools.items():
                if name in models:
                    shared.begin(size=tuple(models[name].shape))
            outputs = super().forward(*args, **kwargs)
            self._begin({})
            return outputs
        # Every forward pass reads the alphas anew: moving averages swap parameters without
        # leaving a trace that a cache could see.
        self._begin(read_alphas(self.dynopools))
        try:
            outputs = super().forward(*args, **kwargs)
            if any(order.next for order in self.all_turns):
                raise RuntimeError(
                    'a pooling module that stands at several levels was called more or less often '
                    'than when the network was converted; use a module of its own for each place')
            return outputs
        finally:
            self._begin({})
            if torch.jit.is_tracing():
                self._forget_sizes()

    def feature_sizes(self, image_size: Sequence[int], alphas: Mapping | None = None
                      ) -> dict[str, tuple[int, int]]:
        """``(H, W)`` behind each DynOPool, for an image of ``(H, W)`` pixels.

        Args:
            alphas: ``{level: (alpha_h, alpha_w)}``; default: the current ones.

        Raises:
            ValueError: they follow from more than the image's size.
        """
        if self.size_chain is None:
            raise ValueError('the sizes of this network depend on more than the size of the image')
        return self._sizes(image_size, alphas or read_alphas(self.dynopools))

    def _sizes(self, image_size: Sequence[int], alphas: Mapping) -> dict[str, tuple[int, int]]:
        sizes = {}
        if IMAGE in self.dynopools:
            sizes[IMAGE] = image_size = self.dynopools[IMAGE].size_at(image_size, alphas[IMAGE])
        return sizes if self.size_chain is None else sizes | self.size_chain.sizes(
            image_size, alphas)

    def _begin(self, alphas: Mapping) -> None:
        for order in self.all_turns:
            order.next = 0
        stays = all(alphas.get(name) == self.dynopools[name].stock_scale == (1.0, 1.0)
                    for name in self.shared_pools)
        for name, shared in self.shared_pools.items():
            shared.begin(alphas.get(name), stays=stays)

    def _forget_sizes(self) -> None:
        """Those of a trace are symbols, which mean nothing beyond it."""
        for shared in self.shared_pools.values():
            shared.entered = None

    @torch.compiler.disable
    def _read_models(self, image_size: Sequence[int]) -> dict[str, Tensor]:
        """The sizes, see `as_dynamic_shapes`; without the image's where that is not resized.

        So compiled code, which cannot tell a size that happens to be equal, does nothing there.
        """
        sizes = self._sizes(image_size, read_alphas(self.dynopools))
        if sizes.get(IMAGE) == tuple(image_size):
            del sizes[IMAGE]
        return as_dynamic_shapes(sizes)


class ConvertedContainer(Converted):
    """Of a network that is a container of its layers: its poolings are none of them."""

    def _layers(self) -> dict[str, nn.Module | None]:
        return {name: module for name, module in self._modules.items() if name != 'dynopools'}

    def __iter__(self) -> Iterator[Any]:
        layers = self._layers()
        return iter(layers if isinstance(self, nn.ModuleDict) else layers.values())

    def __len__(self) -> int:
        return len(self._layers())

    def __getitem__(self, key: Any) -> nn.Module | None:
        if isinstance(self, nn.ModuleDict):
            return self._modules[key]
        layers = list(self)[key]
        return nn.Sequential(*layers) if isinstance(key, slice) else layers

    def keys(self) -> KeysView[str]:
        return self._layers().keys()

    def items(self) -> ItemsView[str, nn.Module | None]:
        return self._layers().items()

    def values(self) -> ValuesView[nn.Module | None]:
        return self._layers().values()


def carry_parameters(image: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The image. So a graph of torch.fx holds the scales, although modules read them unseen."""
    return image


def restore_like(outputs: Any, image: Tensor, resized: Tensor) -> Any:
    """`restore_size` of tensors' sizes."""
    if image.shape == resized.shape:
        return outputs
    return restore_size(outputs, resized.shape[-2:], image.shape[-2:])


# Operators of a graph of torch.fx.
for _function in ('carry_parameters', 'image_resize2d', 'restore_like'):
    torch.fx.wrap(_function)


def _image_size(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[int, int]:
    image = next(filter(_is_image, tree_leaves((args, kwargs))))
    return image.shape[-2], image.shape[-1]


def _is_image(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() == 4
