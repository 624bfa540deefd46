"""What a converted network's modules become: subclasses of their own classes.

A change of ``__class__`` keeps a module's name, keys, hooks and type, for checkpoints, optimizer
constructors, DDP and whatever else looks at it. The poolings belong to the network, in its
``dynopools``; its modules hold them as `SharedPool`, unregistered.
"""

from __future__ import annotations

import inspect
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from functools import cache, wraps
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import Proxy
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from mmseg_dynopool.layers.image import IMAGE, add_zero_gradient, restore_size
from mmseg_dynopool.layers.pool import ResizingPool, as_dynamic_shapes, read_alphas
from mmseg_dynopool.ops import image_resize2d
from mmseg_dynopool.ops.queries import equal_sizes

from .shared_pool import SharedPool, Turns
from .sizes import SizeChain

if TYPE_CHECKING:
    _Mixin = nn.Module
else:  # what the class of a module gets, which is one already
    _Mixin = object


class _Variant(_Mixin):
    """Base of what is mixed into a module's class. Such classes are made, so not importable."""

    prefix = ''
    mixed_in: ClassVar[tuple[type[_Variant], ...]]
    stock_class: ClassVar[type]

    def _positional(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The arguments of a call, the first by position, whose input may be given by its name."""
        if args:
            return args, kwargs
        bound = inspect.signature(type(self).stock_class.forward).bind(self, **kwargs)
        return bound.args[1:], bound.kwargs

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        reduced = super().__reduce_ex__(protocol)
        assert isinstance(reduced, tuple)
        _, _, state, *rest = reduced
        return _restore, (type(self).mixed_in, type(self).stock_class), state, *rest


@cache
def _variant(mixed_in: tuple[type[_Variant], ...], stock_class: type) -> type:
    name = f'{mixed_in[0].prefix}{stock_class.__name__}'

    @wraps(stock_class.forward)  # with its signature, by which exporters name inputs
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return mixed_in[0].forward(self, *args, **kwargs)

    return type(name, (*mixed_in, stock_class), dict(
        mixed_in=mixed_in, stock_class=stock_class, forward=forward,
        __module__=stock_class.__module__, __doc__=stock_class.__doc__))


def _restore(mixed_in: tuple[type[_Variant], ...], stock_class: type) -> Any:
    kind: Any = _variant(mixed_in, stock_class)
    return kind.__new__(kind)


def mix_in(module: nn.Module, mixin: type[_Variant], **state: Any) -> None:
    """Change the class of ``module`` to one of its kind and of ``mixin``; set attributes."""
    mixed_in: tuple[type[_Variant], ...] = ()
    stock_class: type = type(module)
    if isinstance(module, _Variant):
        mixed_in, stock_class = type(module).mixed_in, type(module).stock_class
    if mixin not in mixed_in:
        module.__class__ = _variant((mixin, *mixed_in), stock_class)
    module.__dict__.update(state)


def pool_around(module: nn.Module, **state: Any) -> None:
    """Give ``module`` the attributes of `Pooled`."""
    stock_class = module.stock_class if isinstance(module, _Variant) else type(module)
    is_plain = getattr(stock_class, 'forward', None) is nn.Conv2d.forward
    mix_in(module, PooledConv if is_plain else Pooled, **state)


class Pooled(_Variant):
    """A module with a DynOPool before or behind it, and padding that keeps the size.

    Attributes:
        pool_before, pool_behind: a `SharedPool` or None.
        same_padding: for `torch.nn.functional.pad`, or ``()``.
    """

    prefix = 'Pooled'
    pool_before: SharedPool | None = None
    pool_behind: SharedPool | None = None
    same_padding: tuple[int, ...] = ()

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        if self.pool_before is not None or self.same_padding:
            args, kwargs = self._positional(args, kwargs)
            args = self._before(args[0]), *args[1:]
        return self._behind(super().forward(*args, **kwargs))

    def _before(self, x: Tensor) -> Tensor:
        if self.pool_before is not None:
            x = self.pool_before(x)
        return F.pad(x, self.same_padding) if self.same_padding else x

    def _behind(self, output: Tensor) -> Tensor:
        return output if self.pool_behind is None else self.pool_behind(output)


class PooledConv(Pooled):
    """An ``nn.Conv2d`` that pools where it convolves.

    So it does for those, too, who call ``_conv_forward`` with a norm folded into the weight, past
    ``forward``, as mmengine's ``efficient_conv_bn_eval``.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return super(Pooled, self).forward(*args, **kwargs)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        stock: Any = super()
        return self._behind(stock._conv_forward(self._before(x), weight, bias))


class DynOPooling(_Variant):
    """A pooling module that is a DynOPool now.

    Attributes:
        turns: the `SharedPool` of each of its calls; None where the pooling is gone.
        reduce: ``'max'`` or ``'mean'``.
    """

    prefix = 'DynO'
    turns: Turns
    reduce: str

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        x = self._positional(args, kwargs)[0][0]
        pool = self.turns.take(x)
        return x if pool is None else pool(x, self.reduce)


class Following(_Variant):
    """A module of a fixed factor that now leads to the size from which a DynOPool started.

    Attributes:
        back_to: the `SharedPool`.
    """

    prefix = 'Following'
    back_to: SharedPool
    mode: str  # this and the next as nn.Upsample has them
    align_corners: bool | None

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        args, kwargs = self._positional(args, kwargs)
        size = self.back_to.entered
        if size is None and isinstance(args[0], Proxy):
            raise ValueError(
                f'torch.fx cannot trace this network: a {type(self).stock_class.__name__} of it '
                f'resizes to what entered {self.back_to.name!r}, which torch.fx does not look '
                'into; use torch.export')
        if size is None:  # nothing was pooled yet
            return super().forward(*args, **kwargs)
        if isinstance(self, nn.ConvTranspose2d):
            output = super().forward(*args, **kwargs)
            if equal_sizes((output.shape[-2], output.shape[-1]), size):
                return output
            return F.interpolate(output, size, mode='bilinear', align_corners=False)
        align = self.align_corners if self.mode in ('linear', 'bilinear', 'bicubic') else None
        return F.interpolate(args[0], size, mode=self.mode, align_corners=align)


class Converted(_Variant):
    """The network: reads every alpha once in a forward pass, and hands it to the poolings.

    Attributes:
        dynopools: ``ModuleDict`` of the poolings by level.
        shared_pools: the `SharedPool` of each.
        all_turns: the `Turns` of its poolings.
        size_chain: how the levels' sizes follow from the image's, or None.
        norms: ``{norm: convolution}`` that a DynOPool stands between.
    """

    prefix = 'Converted'
    dynopools: Mapping[str, ResizingPool]  # a ModuleDict, which is no Mapping by type
    shared_pools: Mapping[str, SharedPool]
    all_turns: Sequence[Turns]
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
        outputs = add_zero_gradient(self._run_with_pools(args, kwargs, models), resize)
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
        resize = self.dynopools[IMAGE] if IMAGE in self.dynopools else None
        if resize is not None:
            alpha = resize.bounded_alpha() if resize.learns else resize.read_alpha()
            resized = image_resize2d(image, alpha, resize.multiple)
        leaves[index] = resized
        args, kwargs = tree_unflatten(leaves, structure)
        outputs = super().forward(*args, **kwargs)
        self._begin({})
        return outputs if resize is None or not self.restores_size else restore_like(
            outputs, image, resized)

    def _run_with_pools(self, args: Sequence[Any], kwargs: Mapping[str, Any],
                        models: Mapping[str, Tensor] | None) -> Any:
        """The stock network; ``models`` of the sizes if it is being compiled."""
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
            if any(turns.next for turns in self.all_turns):
                raise RuntimeError(
                    'a pooling module that stands at several levels was called more or less often '
                    'than when the network was converted; use a module of its own for each place')
            return outputs
        finally:
            self._begin({})

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
        for turns in self.all_turns:
            turns.next = 0
        for name, shared in self.shared_pools.items():
            shared.begin(alphas.get(name))

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
