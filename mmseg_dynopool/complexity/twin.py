"""A copy of a network that has shapes but no numbers."""

import copy

import torch
from torch import nn

from mmseg_dynopool.layers import learned_pools


def meta_twin(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose weights are on the meta device, the alphas on the CPU."""
    alphas = {id(pool.alpha) for pool in learned_pools(model).values()}
    memo = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        if id(tensor) in alphas:
            twin = tensor.detach().cpu().clone()
        else:
            twin = torch.empty_like(tensor, device='meta', dtype=torch.float32 if
                                    tensor.is_floating_point() else tensor.dtype)
        if isinstance(tensor, nn.Parameter):
            twin = nn.Parameter(twin, requires_grad=False)
        memo[id(tensor)] = twin
    twin = copy.deepcopy(model, memo)
    twin.eval()  # no chaining: mmseg's HRNet returns None from train() and eval()
    return twin
