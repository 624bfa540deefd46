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
from mmseg_dynopool.layers.pool import ResizingPool, read_alphas, sizes_for_compiler
from mmseg_dynopool.ops import image_resize2d
from mmseg_dynopool.ops.size import equal_sizes

from .shared_pool import CallOrder, SharedPool
from .sizes import SizeChain

# Networks that version 0.3 pickled name these here.
from .variants import DynOPooling, Following, PooledModule, Variant, _restore  # noqa: F401

Pooled = PooledModule


class Converted(Variant):
    """The network: reads every alpha once in a forward pass, and hands it to the poolings."""

    prefix = 'Converted'
    dynopools: Mapping[str, ResizingPool]  # by level; a ModuleDict, typed as a Mapping
    shared_pools: Mapping[str, SharedPool]
    all_turns: Sequence[CallOrder]
    size_chain: SizeChain | None
    restores_size = True
    norms: Mapping[str, str] = {}  # see `ConversionPlan`

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(leaf, Proxy) for leaf in tree_leaves((args, kwargs))):
            return self._trace_symbolically(args, kwargs)
        if not torch.compiler.is_compiling():
            self._check_norms()
        leaves, structure = tree_flatten((args, kwargs))
        index = next((i for i, leaf in enumerate(leaves) if _is_image(leaf)), 0)
        alphas: Mapping[str, Sequence[float]] = {}
        sizes: dict[str, tuple[int, ...]] = {}
        if torch.compiler.is_compiling() and any(p.learns for p in self.dynopools.values()):
            if self.size_chain is not None or IMAGE in self.dynopools:
                # One read, and here: one graph break inside a call becomes several.
                shapes = sizes_for_compiler(self._sizes, leaves[index].shape[-2:])
                sizes = {name: tuple(shape.shape) for name, shape in shapes.items()}
        else:
            # Read in every forward pass: moving averages swap parameters unseen by any cache.
            alphas = read_alphas(self.dynopools)
        if IMAGE not in self.dynopools:
            return self._run_with_pools(args, kwargs, alphas, sizes)
        image, resize = leaves[index], self.dynopools[IMAGE]
        size: Sequence[int] = image.shape[-2:]
        resized = resize.size_at(size, alphas[IMAGE]) if alphas else sizes.get(IMAGE, size)
        leaves[index] = resize(image, resized)
        args, kwargs = tree_unflatten(leaves, structure)
        outputs = self._run_with_pools(args, kwargs, alphas, sizes)
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
        self._begin()
        try:
            outputs = super().forward(*args, **kwargs)
        finally:
            self._begin()
            self._forget_sizes()
        return outputs if resized is image or not self.restores_size else restore_like(
            outputs, image, resized)

    def _run_with_pools(self, args: Sequence[Any], kwargs: Mapping[str, Any],
                        alphas: Mapping[str, Sequence[float]],
                        sizes: Mapping[str, Sequence[int]]) -> Any:
        """The stock network, with what is known of its poolings."""
        self._begin(alphas, sizes)
        if not alphas:  # it is being compiled; no graph break is possible inside a try
            outputs = super().forward(*args, **kwargs)
            self._begin()
        else:
            try:
                outputs = super().forward(*args, **kwargs)
                if any(order.next for order in self.all_turns):
                    raise RuntimeError(
                        'a pooling module that stands at several levels was called more or less '
                        'often than when the network was converted; use a module of its own for '
                        'each place')
            finally:
                self._begin()
                if torch.jit.is_tracing():
                    self._forget_sizes()
        for pool in self.dynopools.values():
            outputs = add_zero_gradient(outputs, pool)
        return outputs

    def feature_sizes(self, image_size: Sequence[int], alphas: Mapping | None = None
                      ) -> dict[str, tuple[int, int]]:
        """``(H, W)`` behind each DynOPool, for an image of ``(H, W)`` pixels.

        ``alphas`` are ``{level: (alpha_h, alpha_w)}``, by default the current ones. A ValueError if
        the sizes depend on more than the image's.
        """
        if self.size_chain is None:
            raise ValueError('the sizes of this network depend on more than the size of the image')
        return self._sizes(image_size, alphas)

    def _sizes(self, image_size: Sequence[int], alphas: Mapping | None = None
               ) -> dict[str, tuple[int, int]]:
        alphas = alphas or read_alphas(self.dynopools)
        sizes = {}
        if IMAGE in self.dynopools:
            sizes[IMAGE] = image_size = self.dynopools[IMAGE].size_at(image_size, alphas[IMAGE])
        return sizes if self.size_chain is None else sizes | self.size_chain.sizes(
            image_size, alphas)

    def _begin(self, alphas: Mapping | None = None, sizes: Mapping | None = None) -> None:
        """Begin a forward pass, or without arguments end it."""
        alphas, sizes = alphas or {}, sizes or {}
        for order in self.all_turns:
            order.next = 0
        stays = all(alphas.get(name) == self.dynopools[name].stock_scale == (1.0, 1.0)
                    for name in self.shared_pools)
        for name, shared in self.shared_pools.items():
            shared.begin(alphas.get(name), sizes.get(name), stays)

    def _forget_sizes(self) -> None:
        """Drop the sizes of a trace, symbols that mean nothing outside it."""
        for shared in self.shared_pools.values():
            shared.entered = None


class ConvertedContainer(Converted):
    """A converted ``nn.Sequential`` or ``nn.ModuleDict``, whose poolings are none of its layers."""

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
    """The image; makes a torch.fx graph hold the scales, which modules read unseen by it."""
    return image


def restore_like(outputs: Any, image: Tensor, resized: Tensor) -> Any:
    """`restore_size`, given tensors instead of sizes."""
    if image.shape == resized.shape:
        return outputs
    return restore_size(outputs, resized.shape[-2:], image.shape[-2:])


# Operators of a graph of torch.fx.
for _function in ('carry_parameters', 'image_resize2d', 'restore_like'):
    torch.fx.wrap(_function)


def _is_image(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() == 4
