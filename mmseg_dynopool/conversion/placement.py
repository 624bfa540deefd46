"""Rule 2's place: the DynOPool stands behind the activation that follows the convolution.

Or behind the norm, where no activation follows. What folds a norm into the convolution before it is
not to meet a DynOPool between them: where a weight of the norm is negative, the maximum before it
is not the one behind it. Norms hold none: others replace them, as by SyncBatchNorm.
"""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .resolution import Step, Value
from .trace import NORMS, POINTWISE, Tracer

_ENDS = {'convolution', 'addmm', 'mm', 'cat', 'add', 'add_', 'mul', 'mul_'}


def place_behind_activation(trace: Tracer, step: Step) -> tuple[str, str]:
    """Where to pool after a strided convolution has lost its stride.

    Args:
        step: the convolution.

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
        unit = trace.results.get(next(iter(used_in))) if _is_leaf(
            trace, next(iter(used_in))[0]) else None
        if unit is None and not (len(value.users) == 1 and ops <= NORMS | POINTWISE):
            break
        after = unit or value.users[0]
        if after.resolution is None or after.resolution.find() is not step.target.find():
            break
        module = next(iter(used_in))[0]
        activated = not (ops & NORMS or _is_norm(trace, module))
        if unit and isinstance(trace.network.get_submodule(module), _BatchNorm):
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
    # An activation that is used at many places, or a norm, of which it cannot be a part.
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
    """The norm that could be folded into a convolution, as it alone reads it; else ``''``."""
    for (name, _), value in trace.results.items():
        if name == module and len(value.users) == 1 and isinstance(
                trace.network.get_submodule(value.users[0].module), _BatchNorm):
            return value.users[0].module
    return ''


def _common(names: list[str]) -> str:
    """The innermost module that holds all of these, or is them; ``''`` for the network."""
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


def _is_norm(trace: Tracer, module: str) -> bool:
    kind = type(trace.network.get_submodule(module)).__name__
    return _is_leaf(trace, module) and 'Norm' in kind
