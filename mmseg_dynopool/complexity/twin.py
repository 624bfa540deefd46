"""A copy of a network that has shapes but no numbers."""

import copy
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from mmseg_dynopool.layers import FixedDynOPool, LearnedPool, learned_pools

_HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


def meta_twin(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose weights are on the meta device.

    A :class:`FixedDynOPool` stands for each pooling that learns: it gives the same sizes, and
    :func:`set_scale_` can give it any scale. Hooks stay behind: they would take a probe for an
    image, and what they hold, such as an open file, may not be copied.

    Raises:
        ValueError: the network is sharded by FSDP2.
    """
    if any(hasattr(module, 'reshard') for module in model.modules()):
        raise ValueError('a network that fully_shard has sharded cannot be copied, so its cost '
                         'cannot be probed; call model.complexity() before fully_shard. '
                         'gmacs_budget counts until the end: use gmacs_weight with FSDP2')
    memo = {id(pool): _stand_in(pool) for pool in learned_pools(model).values()}
    for tensor in [*model.parameters(), *model.buffers()]:
        twin = torch.empty_like(tensor, device='meta', dtype=torch.float32 if
                                tensor.is_floating_point() else tensor.dtype)
        if isinstance(tensor, nn.Parameter):
            twin = nn.Parameter(twin, requires_grad=False)
        memo[id(tensor)] = twin
    for module in model.modules():
        memo.update({id(getattr(module, name)): OrderedDict() for name in _HOOKS})
    twin = copy.deepcopy(model, memo)
    twin.eval()  # no chaining: mmseg's HRNet returns None from train() and eval()
    return twin


def _stand_in(pool: LearnedPool) -> FixedDynOPool:
    fixed = FixedDynOPool.from_learned(pool)
    fixed.initial_scale = pool.initial_scale
    fixed.macs_per_value = pool.macs_per_value
    return fixed


def set_scale_(pool: FixedDynOPool, scale: Sequence[float]) -> None:
    """Give a pooling of a twin any scale, beyond its bounds, too."""
    pool.alpha = FixedDynOPool(scale).alpha
