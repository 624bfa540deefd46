"""Mixed precision on a machine without GPU, which mmengine's AmpOptimWrapper refuses."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Runs the forward pass under bfloat16 autocast on the CPU; bfloat16 needs no loss scale.

    Use it by `optim_wrapper=dict(type='CPUAmpOptimWrapper', optimizer=...)`; options are those of
    mmengine's `OptimWrapper`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from mmseg_dynopool.hooks import CPUAmpOptimWrapper
        >>> model = nn.Conv2d(3, 8, 3)
        >>> optim_wrapper = CPUAmpOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
        >>> with optim_wrapper.optim_context(model):
        ...     print(model(torch.rand(1, 3, 8, 8)).dtype)
        torch.bfloat16
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield
