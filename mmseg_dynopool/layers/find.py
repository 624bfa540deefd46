"""Find the poolings of a network, name them, replace them, freeze them."""

import copy
import gc
import types
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from mmseg_dynopool.ops.size import check_whole

from .pool import ResizingPool

_ATOMIC = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, types.CodeType)


def all_pools(model: nn.Module) -> dict[str, ResizingPool]:
    """The poolings that ``model`` owns, each instance once, by their dotted names."""
    return {n: m for n, m in model.named_modules() if isinstance(m, ResizingPool)}


def learned_pools(model: nn.Module) -> dict[str, ResizingPool]:
    """The poolings that learn their scale, each instance once, by their dotted names.

    Examples:
        >>> from mmseg_dynopool.layers import DynOPool, FixedDynOPool, learned_pools
        >>> from torch import nn
        >>> list(learned_pools(nn.Sequential(DynOPool(), nn.ReLU(), FixedDynOPool())))
        ['0']
    """
    return {name: pool for name, pool in all_pools(model).items() if pool.learns}


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Short, distinct names by dotted ones: ``'stream1'`` for ``'backbone.dynopools.stream1'``.

    A pooling keeps its whole name if another has the same short one, as with two backbones.
    """
    short = {name: name.rpartition('dynopools.')[2] for name in names}
    shared = [s for s in short.values() if list(short.values()).count(s) > 1]
    return {name: name if s in shared else s for name, s in short.items()}


def by_short_name(pools: Mapping[str, ResizingPool]) -> dict[str, ResizingPool]:
    """Poolings by their `short_names`."""
    short = short_names(pools)
    return {short[name]: pool for name, pool in pools.items()}


def copy_replacing(model: nn.Module, pairs: Iterable[tuple[object, object]]) -> nn.Module:
    """A deep copy of ``model`` in which some objects are replaced, wherever they are held.

    Modules may hold what cannot be copied: tensors in the graph of a training step are copied
    detached; open files, locks and the like are shared. ``pairs`` are ``(original, replacement)``,
    modules, tensors or others; replacements are not copied.
    """
    # deepcopy treats what is in its memo as already copied.
    memo = {id(original): replacement for original, replacement in pairs}
    memo |= {id(tensor): tensor.detach().clone() for tensor in tensors_held_by(model)
             if not tensor.is_leaf and id(tensor) not in memo}
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception:  # from anything that a module holds
        modules = {id(module): module for module in model.modules()}
        for module in modules.values():
            _share(vars(module), modules, memo, set())
        return copy.deepcopy(model, memo)


def _share(value: object, modules: dict[int, nn.Module], memo: dict[int, object], seen: set[int]
           ) -> None:
    """Note in ``memo`` the parts of a value that cannot be copied, as their own copies."""
    if id(value) in seen:
        return
    seen.add(id(value))
    try:
        copy.deepcopy(value, modules | memo)
    except Exception:  # of any type
        parts = list(value.values()) if isinstance(value, dict) else (
            list(value) if isinstance(value, (list, tuple, set)) else None)
        if parts is None:
            memo[id(value)] = value
        for part in parts or ():
            _share(part, modules, memo, seen)


def tensors_held_by(model: nn.Module) -> list[Tensor]:
    """The tensors that modules hold at any depth: weights, buffers, and whatever else."""
    tensors: list[Tensor] = []
    waiting: list[object] = [model]
    seen: dict[int, object] = {}
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, _ATOMIC):
            continue
        seen[id(value)] = value
        if isinstance(value, Tensor):
            tensors.append(value)
        else:
            waiting += gc.get_referents(value)
    return tensors


def freeze_pools(model: nn.Module) -> nn.Module:
    """A copy of ``model``, any network, in which every DynOPool has its current scale for good.

    Layers that share an instance share its constant. Outputs are the same, bit for bit; the
    state_dict has the same keys, scales included.

    Raises:
        ValueError: it holds a ShapeAdaptor, which has no form with a constant scale.

    Examples:
        >>> from mmseg_dynopool.layers import DynOPool, freeze_pools
        >>> from torch import nn
        >>> freeze_pools(nn.Sequential(nn.Conv2d(3, 8, 3), DynOPool(0.25)))[1]
        FixedDynOPool(scale=(0.25, 0.25))
    """
    return copy_replacing(model, [(pool, pool.freeze()) for pool in learned_pools(model).values()])


def input_channels(model: nn.Module, given: int | None = None) -> int:
    """Channels of the image that ``model`` takes: those ``given``, else found.

    They are as many as its data preprocessor has means, else those of the first convolution of
    what owns its DynOPools, or of the whole. A ValueError if it has neither, or takes volumes.
    """
    if given is not None:
        check_whole('in_channels', given)
        return given
    check_takes_images(model)
    means = getattr(getattr(model, 'data_preprocessor', None), 'mean', None)
    if isinstance(means, Tensor) and means.numel() > 1:
        return means.numel()
    owners = [module for module in model.modules() if hasattr(module, 'dynopools')]
    for owner in (*owners, model):  # a head may be registered before its encoder
        for module in owner.modules():
            if isinstance(module, nn.Conv2d):
                return module.in_channels
    raise ValueError(f'{type(model).__name__} has no convolution that tells its input channels; '
                     'give in_channels')


def check_takes_images(model: nn.Module) -> None:
    """Raise a ValueError for a network with only 3-D convolutions."""
    volumes = [name for name, module in model.named_modules() if isinstance(module, nn.Conv3d)]
    if volumes and not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        raise ValueError(
            f'{type(model).__name__} takes volumes (N, C, D, H, W): {volumes[0]!r} is a '
            f'{type(model.get_submodule(volumes[0])).__name__}. Sizes are learned of images '
            '(N, C, H, W) alone: use a network of 2-D convolutions, such as on slices')
