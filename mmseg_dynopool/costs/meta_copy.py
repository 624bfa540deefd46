"""Copies of a network for counting and timing: with shapes but no numbers, or with set scales."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_dynopool.layers import ResizingPool, learned_pools
from mmseg_dynopool.layers.find import all_pools, copy_replacing, tensors_held_by

# They cost no multiply-adds and keep the size, but take much of the time on the meta device.
_FREE = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.LayerNorm, nn.GroupNorm, nn.ReLU, nn.ReLU6, nn.SiLU,
         nn.GELU, nn.Hardswish, nn.LeakyReLU, nn.Dropout)
_HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


class Stripped(nn.Identity):
    """Replaces a norm or activation whose values do not matter."""


def to_meta_copy(model: nn.Module, strip: bool = True) -> nn.Module:
    """A copy in evaluation mode whose weights are on the meta device.

    A `FixedDynOPool`, which takes any scale, stands for each pooling that learns. Hooks are not
    copied: they would mistake a probe for an image, or hold what cannot be copied. With ``strip``
    norms and activations are left out. A ValueError for a network that FSDP2 has sharded.
    """
    _check_whole(model)
    pairs: list[tuple[object, object]] = [
        (pool, pool.for_counting()) for pool in learned_pools(model).values()]
    pairs += [(module, Stripped()) for module in model.modules()
              if strip and type(module) in _FREE]
    # Tensors that meet features; numbers and lists of sizes, which a forward may read, stay.
    held = [tensor for tensor in tensors_held_by(model)
            if tensor.ndim and (tensor.is_floating_point() or tensor.is_complex())]
    pairs += [(tensor, _empty_like(tensor))
              for tensor in (*model.parameters(), *model.buffers(), *held)]
    return _copy_without_hooks(model, pairs)


def to_fixed_copy(model: nn.Module, pools: Mapping[str, ResizingPool] | None = None) -> nn.Module:
    """A copy in evaluation mode, with numbers, whose scales can be set; hooks are not copied.

    ``pools`` replace its poolings; default: the frozen forms of those that learn, which a
    ShapeAdaptor lacks (ValueError).
    """
    _check_whole(model)
    pairs = [(pool, pools[name] if pools else pool.freeze())
             for name, pool in (all_pools if pools else learned_pools)(model).items()]
    return _copy_without_hooks(model, pairs)


def _copy_without_hooks(model: nn.Module, pairs: Sequence[tuple[object, object]]) -> nn.Module:
    hooks: list[tuple[object, object]] = [
        (getattr(module, name), OrderedDict()) for module in model.modules() for name in _HOOKS]
    copied = copy_replacing(model, [*pairs, *hooks])
    copied.eval()  # no chaining: mmseg's HRNet returns None from train() and eval()
    return copied


def _check_whole(model: nn.Module) -> None:
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise ValueError(f'{type(model).__name__} has lazy parameters, whose shapes are not known '
                         'yet; run it once on an image first')
    if any(hasattr(module, 'reshard') for module in model.modules()):
        raise ValueError('a network that fully_shard has sharded cannot be copied, so its cost '
                         'cannot be probed; probe it before fully_shard, and add its gradient by '
                         'learning.add_cost_gradient. A budget counts until the end, and does not '
                         'work with FSDP2')


def note_running(network: nn.Module, running: list[str] | None = None) -> list[str]:
    """The names of the modules that run, the innermost last; kept by hooks.

    After an error the last is the module in which it occurred; clear the list before the next run.
    """
    noted: list[str] = [] if running is None else running

    def leave(module: nn.Module, args: object, output: object) -> None:
        noted.pop()

    for name, module in network.named_modules():
        if not isinstance(module, torch.jit.ScriptModule):  # it takes no hooks
            module.register_forward_pre_hook(lambda module, args, name=name: noted.append(name))
            module.register_forward_hook(leave)
    return noted


def run_plainly(network: nn.Module, image: Tensor) -> Any:
    """The default ``forward`` of probes."""
    return network(image)


def run_on_meta(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    """Run an operator for a dispatch mode, faster on the meta device."""
    if (func._overloadpacket is torch.ops.aten.upsample_bilinear2d and args[1] is not None
            and args[0].is_meta):
        # PyTorch is slow to find this shape.
        return args[0].new_empty(*args[0].shape[:2], *args[1])
    return func(*args, **(kwargs or {}))


class QuickShapes(TorchDispatchMode):
    """While it is entered, networks on the meta device run faster."""

    def __torch_dispatch__(self, func: OpOverload, types: Sequence[type],
                           args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
                           ) -> Any:
        return run_on_meta(func, args, kwargs)


def _empty_like(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    empty = torch.empty_like(tensor, device='meta', dtype=dtype)
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
