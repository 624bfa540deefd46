"""Multiply-adds of every operator call in one forward pass, by PyTorch's own formulas."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mmseg_dynopool.layers import all_pools

from .meta_copy import to_meta_copy


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
    for name, pool in all_pools(model).items():
        handles.append(pool.register_forward_hook(counter.pooled(name, pool.macs_per_value)))
    try:
        with torch.no_grad(), counter:
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return counter.calls


def check_shape(shape: Sequence[int], name: str = 'shape') -> None:
    """Check the size at which a network is counted.

    Raises:
        ValueError: it is not two whole numbers of at least 1.
    """
    if not isinstance(shape, Sequence) or len(shape) != 2 or not all(
            isinstance(n, Integral) and n >= 1 for n in shape):
        raise ValueError(f'{name} must be (H, W) with whole sizes >= 1, got {shape!r}')


def count_on_meta(network: nn.Module, shape: Sequence[int], in_channels: int = 3,
                  forward: Callable | None = None) -> list[Call]:
    """Count the calls of a network made by :func:`to_meta_copy`.

    Args:
        network: on the meta device.
        shape: input size ``(H, W)`` in pixels.
        in_channels: channels of the input.
        forward: ``forward(network, input)`` runs it; default ``network(input)``.

    Raises:
        ValueError: ``shape`` is not two positive sizes.
    """
    check_shape(shape)
    image = torch.empty(1, in_channels, *shape, device='meta')
    run = forward or (lambda network, image: network(image))
    return count_calls(network, lambda: run(network, image))


def count_gmacs(model: nn.Module, shape: Sequence[int], in_channels: int = 3,
                forward: Callable | None = None) -> float:
    """GMACs of ``model`` at its current sizes, rounding included.

    Args:
        model: any network; it is neither run nor changed.
        shape, in_channels, forward: see :func:`count_on_meta`.

    Returns:
        Multiply-adds of one image in units of 1e9.
    """
    return GMACsCounter(model, shape, in_channels, forward)()


class GMACsCounter:
    """:func:`count_gmacs` of one network at many alphas; the network is copied once.

    Args:
        model: any network; it is neither run nor changed.
        shape, in_channels, forward: see :func:`count_on_meta`.
    """

    def __init__(self, model: nn.Module, shape: Sequence[int], in_channels: int = 3,
                 forward: Callable | None = None):
        self._network = to_meta_copy(model)
        self._pools = all_pools(self._network)
        self._options = (shape, in_channels, forward)

    def __call__(self, alphas: Mapping[str, Sequence[float]] | None = None) -> float:
        """GMACs at ``alphas``, ``{instance: (alpha_h, alpha_w)}``; default: those last given."""
        for name, alpha in (alphas or {}).items():
            self._pools[name].set_alpha_(alpha)
        return sum(call.macs for call in count_on_meta(self._network, *self._options)) / 1e9


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

    def pooled(self, name, macs_per_value):

        def hook(module, args, output: Tensor):
            self.calls.append(Call(name, 'dynopool', macs_per_value * output.numel()))

        return hook
