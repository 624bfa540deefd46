"""Rule 2's place: the DynOPool stands behind the activation that follows the convolution."""

from torch import nn

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
    value, place, activated = step.output, step.module, False
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
        if unit and trace.calls[module] == 1:
            place = module
        elif not activated:
            break
        value = after
    if not activated:  # nothing but a norm follows
        return 'behind', step.module
    if place == value.module:
        return 'behind', place
    # An activation that is used at many places.
    readers = {user.module for user in value.users}
    reader = readers.pop() if len(readers) == 1 else ''
    if reader and trace.calls[reader] == 1 and isinstance(
            trace.network.get_submodule(reader), nn.Conv2d):
        return 'before', reader
    return 'behind', step.module


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
