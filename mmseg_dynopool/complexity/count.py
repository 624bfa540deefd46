"""Multiply-adds of every operator call in one forward pass, by PyTorch's own formulas."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mmseg_dynopool.layers import DynOPool

# Each of a cell's four queries is a weighted sum of four pixels (supplement, section 3).
MACS_PER_POOLED_VALUE = 16


@dataclass(frozen=True)
class Call:
    """One counted operator call: the module it ran in, the operator, its multiply-adds."""

    module: str
    op: str
    macs: float


def count_calls(model: nn.Module, forward: Callable[[], object]) -> list[Call]:
    """Run ``forward()`` and count the multiply-adds of ``model`` call by call.

    Works on any device; on ``meta`` no arithmetic is done. A DynOPool counts as bilinear
    interpolation, proportional to its output. The hooks are removed again.

    Args:
        model: the network whose module names label the calls.
        forward: runs it once.

    Returns:
        The calls in the order of execution.
    """
    counter = _Counter()
    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(counter.enter(name)))
        handles.append(module.register_forward_hook(counter.leave))
        if isinstance(module, DynOPool):
            handles.append(module.register_forward_hook(counter.pooled(name)))
    try:
        with torch.no_grad(), counter:
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return counter.calls


class _Counter(TorchDispatchMode):

    def __init__(self):
        super().__init__()
        self.calls: list[Call] = []
        self._modules: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            # PyTorch counts a multiply-add as two operations.
            macs = formula(*args, **(kwargs or {}), out_val=output) / 2
            module = self._modules[-1] if self._modules else ''
            self.calls.append(Call(module, func._overloadpacket.__name__, macs))
        return output

    def enter(self, name):
        return lambda module, args: self._modules.append(name)

    def leave(self, module, args, output):
        self._modules.pop()

    def pooled(self, name):

        def hook(module, args, output: Tensor):
            self.calls.append(Call(name, 'dynopool', MACS_PER_POOLED_VALUE * output.numel()))

        return hook
