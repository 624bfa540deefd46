"""Where the DynOPools of the levels stand, and what becomes of each module.

Rule 2 pools behind the activation that follows the convolution, or behind the norm if none follows.
No DynOPool should stand between a convolution and a norm that may be folded into it: if a weight of
the norm is negative, the maximum before it is another than behind it. Norms hold no DynOPool, as
others replace them, e.g. by SyncBatchNorm.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .levels import Levels
from .resolution import Step, Value
from .trace import NORMS, POINTWISE, Tracer

_ENDS = {'convolution', 'addmm', 'mm', 'cat', 'add', 'add_', 'mul', 'mul_'}


@dataclass(frozen=True)
class Change:
    """What happens to one module.

    Attributes:
        module: its dotted name.
        level: name of the level.
        place: of the DynOPool: ``'before'`` or ``'behind'`` the module, or ``'instead'`` of it;
            ``'mean'``: instead of an average; ``'gone'``: the module only loses its stride;
            ``'follows'``: it resizes to what entered the DynOPool.
        padding: keeps the size of a convolution without its stride; None if the module keeps its
            stride, or is not a strided convolution.
    """

    module: str
    level: str
    place: str
    padding: tuple[int, ...] | None = None


def module_changes(trace: Tracer, found: Levels, rule: str) -> list[Change]:
    """What happens to the modules, in order of execution."""
    changes: list[Change] = []
    owners = {step: level for level in found.levels for step in level.steps + level.absorbed}
    for step in trace.steps:
        level = owners.get(step)
        if level is None:
            if step.module in found.follows:
                changes.append(Change(step.module, found.follows[step.module].name, 'follows'))
            continue
        module, place, padding = step.module, rule, None
        if rule == 'keep':
            place = 'before'
        elif step in level.absorbed:
            place = 'gone'
        elif step.kind != 'conv':
            place = 'mean' if step.kind == 'mean' else 'instead'
        elif rule == 'after':
            place, module = _behind_activation(trace, step)
        if rule != 'keep' and step.kind == 'conv':
            padding = _same_padding(trace.network.get_submodule(step.module))
            if module != step.module:
                changes.append(Change(step.module, level.name, 'gone', padding))
                padding = None
        changes.append(Change(module, level.name, place, padding))
    # A pooling module at several levels takes turns, so each of its calls counts.
    poolings = {step.module for step in owners if step.kind != 'conv'}
    kinds = Counter(change.module for change in set(changes))
    return [change for i, change in enumerate(changes) if change not in changes[:i]
            or (change.module in poolings and kinds[change.module] > 1)]


def _same_padding(conv: nn.Module) -> tuple[int, ...]:
    """The padding that a convolution lacks to keep the size at stride 1."""
    assert isinstance(conv, nn.Conv2d)  # else it was refused
    unstrided = copy.deepcopy(conv)
    unstrided.stride = (1, 1)
    size = [64 + d * k for k, d in zip(conv.kernel_size, conv.dilation)]
    output = unstrided(torch.empty(1, conv.in_channels, *size, device='meta'))
    lack = [n - m for n, m in zip(size, output.shape[2:])]
    return tuple(p for n in reversed(lack) for p in (n // 2, n - n // 2)) if any(lack) else ()


def _behind_activation(trace: Tracer, step: Step) -> tuple[str, str]:
    """Where to pool after a strided convolution has lost its stride.

    Returns:
        ``('behind', module)`` or ``('before', module)``: the latter before the only layer that
        reads an activation, where the activation module is one that others use, too.
    """
    value, place, activated, norm = step.output, step.module, False, ''
    while value.users and not activated:
        used_in = {(user.module, user.call) for user in value.users}
        ops = {user.op for user in value.users}
        if len(used_in) > 1 or (ops & _ENDS and not _is_unit(trace, value)):
            break
        (module, call), = used_in
        unit = trace.results.get((module, call)) if _is_leaf(trace, module) else None
        if unit is None and not (len(value.users) == 1 and ops <= NORMS | POINTWISE):
            break
        after = unit or value.users[0]
        if after.resolution is None or after.resolution.find() is not step.target.find():
            break
        layer = trace.network.get_submodule(module)
        is_norm = _is_leaf(trace, module) and 'Norm' in type(layer).__name__
        activated = not (ops & NORMS or is_norm)
        if unit and isinstance(layer, _BatchNorm):
            norm = module
        if unit and trace.calls[module] == 1:
            place = module
        elif not activated:
            break
        value = after
    if activated and place == value.module:
        return 'behind', place
    if not activated and not norm:
        return 'behind', step.module
    # The activation is used in several places, or a norm comes last, which cannot hold a DynOPool.
    readers = [user.module for user in value.users]
    reader = _common(readers)
    if reader in readers and not (trace.calls[reader] == 1 and isinstance(
            trace.network.get_submodule(reader), nn.Conv2d)):
        reader = ''
    if norm:
        whole = _common([step.module, norm])
        while whole and trace.results.get((whole, 1)) is not value:
            whole = whole.rpartition('.')[0]
        if whole and trace.calls[whole] == 1:
            return 'behind', whole
        while reader and not (trace.calls[reader] == 1 and (
                reader in readers or trace.inputs.get((reader, 1)) is value)):
            reader = reader.rpartition('.')[0]
    elif reader not in readers:
        reader = ''
    return ('before', reader) if reader and value not in trace.outputs else ('behind', step.module)


def norm_behind(trace: Tracer, module: str) -> str:
    """The norm that could be folded into a convolution, being its only reader; else ``''``."""
    for (name, _), value in trace.results.items():
        if name == module and len(value.users) == 1 and isinstance(
                trace.network.get_submodule(value.users[0].module), _BatchNorm):
            return value.users[0].module
    return ''


def _common(names: list[str]) -> str:
    """The innermost module that is or holds all of these; ``''`` for the network."""
    parts: list[str] = []
    for column in zip(*(name.split('.') for name in names)):
        if len(set(column)) > 1:
            break
        parts.append(column[0])
    return '.'.join(parts)


def _is_unit(trace: Tracer, value: Value) -> bool:
    """Whether all that uses a value is one call of an activation module, such as SiLU's x * s."""
    module = value.users[0].module
    return _is_leaf(trace, module) and not isinstance(
        trace.network.get_submodule(module), (nn.Conv2d, nn.Linear))


def _is_leaf(trace: Tracer, module: str) -> bool:
    return not any(True for _ in trace.network.get_submodule(module).children())
