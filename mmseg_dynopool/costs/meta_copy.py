"""A copy of a network that has shapes but no numbers."""

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

# They cost no multiply-adds and keep the size, and on the meta device much of the time.
_FREE = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.LayerNorm, nn.GroupNorm, nn.ReLU, nn.ReLU6, nn.SiLU,
         nn.GELU, nn.Hardswish, nn.LeakyReLU, nn.Dropout)
_HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


class Stripped(nn.Identity):
    """In the place of a norm or activation whose values do not matter."""


def to_meta_copy(model: nn.Module, strip: bool = True) -> nn.Module:
    """A copy in evaluation mode whose weights are on the meta device.

    A `FixedDynOPool` stands for each pooling that learns: it gives the same sizes, and can
    be given any scale, beyond its bounds, too. Hooks stay behind: they would take a probe for an
    image, and what they hold, such as an open file, may not be copied.

    Args:
        strip: leave out norms and activations.

    Raises:
        ValueError: the network is sharded by FSDP2.
    """
    _check_whole(model)
    pairs: list[tuple[object, object]] = [
        (pool, pool.for_counting()) for pool in learned_pools(model).values()]
    pairs += [(module, Stripped()) for module in model.modules()
              if strip and type(module) in _FREE]
    pairs += [(tensor, _empty_like(tensor)) for tensor in _to_empty(model)]
    return _copy_without_hooks(model, pairs)


def to_fixed_copy(model: nn.Module, pools: Mapping[str, ResizingPool] | None = None) -> nn.Module:
    """A copy in evaluation mode, with numbers, whose scales can be set; hooks stay behind.

    Args:
        model: it is not changed.
        pools: what stands for its poolings; default: for those that learn, their frozen forms.

    Raises:
        ValueError: it holds a ShapeAdaptor and no ``pools`` are given, or is sharded by FSDP2.
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

    Args:
        network: gets the hooks.
        running: the list to fill.
    """
    running = [] if running is None else running
    noted = running

    def leave(module: nn.Module, args: object, output: object) -> None:
        noted.pop()

    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # it takes no hooks
            continue
        module.register_forward_pre_hook(lambda module, args, name=name: noted.append(name))
        module.register_forward_hook(leave)
    return running


def run_plainly(network: nn.Module, image: Tensor) -> Any:
    """The ``forward`` of probes where none is given."""
    return network(image)


def run_on_meta(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    """Run an operator, on tensors of the meta device quicker, for a dispatch mode."""
    if (func._overloadpacket is torch.ops.aten.upsample_bilinear2d and args[1] is not None
            and args[0].is_meta):
        # PyTorch's way to its shape takes long.
        return args[0].new_empty(*args[0].shape[:2], *args[1])
    return func(*args, **(kwargs or {}))


class QuickShapes(TorchDispatchMode):
    """While it is entered, networks on the meta device run faster."""

    def __torch_dispatch__(self, func: OpOverload, types: Sequence[type],
                           args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
                           ) -> Any:
        return run_on_meta(func, args, kwargs)


def _to_empty(model: nn.Module) -> list[Tensor]:
    """Weights, buffers, and other tensors that meet the features.

    Numbers and lists of sizes, which a forward may read, are kept.
    """
    owned = [*model.parameters(), *model.buffers()]
    return owned + [tensor for tensor in tensors_held_by(model)
                    if tensor.ndim and (tensor.is_floating_point() or tensor.is_complex())]


def _empty_like(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    empty = torch.empty_like(tensor, device='meta', dtype=dtype)
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
