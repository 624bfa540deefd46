"""What a converted network's modules become: subclasses of their own classes.

A change of ``__class__`` keeps a module's name, keys, hooks and type, for checkpoints, optimizer
constructors, DDP and whatever else looks at it. The poolings belong to the network, in its
``dynopools``; its modules hold them as `SharedPool`, unregistered.
"""

from __future__ import annotations

import inspect
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import Proxy

from mmseg_dynopool.ops.size import resize

from .shared_pool import CallOrder, SharedPool

if TYPE_CHECKING:
    _Mixin = nn.Module
else:  # mixed into the class of a module
    _Mixin = object


class Variant(_Mixin):
    """Base of what is mixed into a module's class. Such classes are made on the fly."""

    prefix = ''
    mixed_in: ClassVar[tuple[type[Variant], ...]]
    stock_class: ClassVar[Any]  # a type

    def _positional(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The arguments of a call, with the input by position even if it was given by name."""
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
def _variant(mixed_in: tuple[type[Variant], ...], stock_class: Any) -> type:
    name = f'{mixed_in[0].prefix}{stock_class.__name__}'

    @wraps(stock_class.forward)  # with its signature, by which exporters name inputs
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return mixed_in[0].forward(self, *args, **kwargs)

    return type(name, (*mixed_in, stock_class), dict(
        mixed_in=mixed_in, stock_class=stock_class, forward=forward,
        __module__=stock_class.__module__, __doc__=stock_class.__doc__))


def _restore(mixed_in: tuple[type[Variant], ...], stock_class: type) -> Any:
    kind: Any = _variant(mixed_in, stock_class)
    return kind.__new__(kind)


def mix_in(module: nn.Module, mixin: type[Variant], **state: Any) -> None:
    """Change the class of ``module`` to a subclass of its own and ``mixin``; set attributes."""
    mixed_in: tuple[type[Variant], ...] = ()
    stock_class: type = type(module)
    if isinstance(module, Variant):
        mixed_in, stock_class = type(module).mixed_in, type(module).stock_class
    if mixin not in mixed_in:
        module.__class__ = _variant((mixin, *mixed_in), stock_class)
    module.__dict__.update(state)


def pool_around(module: nn.Module, **state: Any) -> None:
    """Give ``module`` the attributes of `PooledModule`."""
    stock_class: Any = module.stock_class if isinstance(module, Variant) else type(module)
    is_plain = stock_class.forward is nn.Conv2d.forward
    mix_in(module, PooledConv if is_plain else PooledModule, **state)


class PooledModule(Variant):
    """A module with a DynOPool before or behind it, and padding that keeps the size."""

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


class PooledConv(PooledModule):
    """An ``nn.Conv2d`` that pools where it convolves.

    So it pools even if ``_conv_forward`` is called directly with a norm folded into the weight, as
    mmengine's ``efficient_conv_bn_eval`` does.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return super(PooledModule, self).forward(*args, **kwargs)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        stock: Any = super()
        return self._behind(stock._conv_forward(self._before(x), weight, bias))


class DynOPooling(Variant):
    """A pooling module that is a DynOPool now."""

    prefix = 'DynO'
    turns: CallOrder  # of its poolings; None where that is gone
    reduce: str

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        x = self._positional(args, kwargs)[0][0]
        pool = self.turns.take(x)
        return x if pool is None else pool(x, self.reduce)


class ResizedPooling(DynOPooling):
    """A pooling module whose input is resized first."""

    prefix = 'Resized'

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        (x, *rest), kwargs = self._positional(args, kwargs)
        pool = self.turns.take(x)
        stock: Any = super(DynOPooling, self)
        return stock.forward(x if pool is None else pool(x), *rest, **kwargs)


class Following(Variant):
    """A module that resized by a fixed factor, now to the size that entered a DynOPool."""

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
        if size is None or self.back_to.stays:  # nothing was pooled yet, or resized
            return super().forward(*args, **kwargs)
        if isinstance(self, nn.ConvTranspose2d):
            return resize(super().forward(*args, **kwargs), size)
        align = self.align_corners if self.mode in ('linear', 'bilinear', 'bicubic') else None
        return F.interpolate(args[0], size, mode=self.mode, align_corners=align)
