"""How a network computes: compiled, or under mixed precision on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn

from mmseg_dynopool.models.whole_network import unwrap


@HOOKS.register_module()
class CompileHook(Hook):
    """Compiles a part of the model in place before it trains or tests.

    mmengine's own ``compile`` option wraps the whole training step, whose optimizer with groups of
    its own (alpha's lr) PyTorch cannot trace. Names in checkpoints stay as they are.

    Args:
        part: dotted name of the module in the model, e.g. ``'backbone'``.
        **options: of `torch.compile`, e.g. ``mode='max-autotune'`` or ``backend='aot_eager'``.

    Raises:
        ValueError: ``part`` names no module of the model.

    Examples:
        >>> from mmseg.registry import HOOKS
        >>> import mmseg_dynopool  # as a config does by custom_imports
        >>> custom_hooks = [dict(type='CompileHook', part='backbone', mode='max-autotune')]
        >>> hook = HOOKS.build(custom_hooks[0])
        >>> hook.part, hook.options
        ('backbone', {'mode': 'max-autotune'})
    """

    def __init__(self, part: str = 'backbone', **options: Any):
        if not isinstance(part, str) or not part:
            raise ValueError(f"part must be a module's name such as 'backbone', got {part!r}")
        self.part = part
        self.options = options

    def before_run(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        try:
            module = attrgetter(self.part)(model)
        except AttributeError:
            module = None
        if not isinstance(module, nn.Module):
            raise ValueError(f'CompileHook: part {self.part!r} is no module of '
                             f'{type(model).__name__}; there are '
                             f'{[name for name, _ in model.named_children()]}')
        module.compile(**self.options)


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Mixed precision on a machine without GPU, which mmengine's AmpOptimWrapper refuses.

    The forward pass runs under bfloat16 autocast, which needs no loss scale. Use it by
    `optim_wrapper=dict(type='CPUAmpOptimWrapper', optimizer=...)`; options are those of mmengine's
    `OptimWrapper`.

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
