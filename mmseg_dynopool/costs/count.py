"""Multiply-adds of every operator call in one forward pass, by PyTorch's own formulas."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mmseg_dynopool.layers import FixedDynOPool
from mmseg_dynopool.layers.find import all_pools

from .meta_copy import note_running, run_on_meta, run_plainly, to_fixed_copy, to_meta_copy


class Call(NamedTuple):
    """One operator call: its module, the operator, multiply-adds, and a pooling's output size."""

    module: str
    op: str
    macs: float
    size: tuple[int, int] | None = None


def check_shape(shape: Sequence[int], name: str = 'shape') -> None:
    """Raise a ValueError unless an image's size is two whole numbers of at least 1."""
    if not isinstance(shape, Sequence) or len(shape) != 2 or not all(
            isinstance(n, Integral) and n >= 1 for n in shape):
        raise ValueError(f'{name} must be (H, W) with whole sizes >= 1, got {shape!r}')


class GMACsCounter:
    """Counts the multiply-adds of a network at any alphas, on a copy.

    The copy has only shapes. If the network reads values (``.item()``, numpy) and so cannot run,
    the copy has numbers, on the network's device, and one random image. A DynOPool counts as
    bilinear interpolation, proportional to its output.

    Args:
        model: any network; it is neither run nor changed.
        shape: input size ``(H, W)`` in pixels.
        in_channels: channels of the input.
        forward: ``forward(copy, input)`` runs the copy; default ``copy(input)``.

    Attributes:
        pools: the copy's poolings by their dotted names, `FixedDynOPool` all of them.
        on_meta: whether the copy has only shapes; known after the first count.

    Raises:
        ValueError: ``shape`` is not two positive sizes.

    Examples:
        >>> from mmseg_dynopool.costs import GMACsCounter
        >>> from mmseg_dynopool.layers import DynOPool
        >>> from torch import nn
        >>> network = nn.Sequential(DynOPool(0.5), nn.Conv2d(3, 8, 3, padding=1))
        >>> counter = GMACsCounter(network, (512, 1024))
        >>> counter.gmacs(), counter.gmacs({'0': (4.0, 4.0)})
        (0.034603008, 0.008650752)
    """

    def __init__(self, model: nn.Module, shape: Sequence[int], in_channels: int = 3,
                 forward: Callable | None = None):
        check_shape(shape)
        self._image = (1, in_channels, *shape)
        self._model: nn.Module | None = model  # until the first count
        self.on_meta = True
        self._network = to_meta_copy(model)
        self._forward = forward or run_plainly
        self._running = note_running(self._network)
        self._counter = _Counter(self._running)
        self.pools = cast(dict[str, FixedDynOPool], all_pools(self._network))
        for name, pool in self.pools.items():
            pool.register_forward_hook(partial(self._counter.note_pooling, name))

    @property
    def running(self) -> str:
        """Name of the module that runs; after an error, of the one where it occurred."""
        return self._running[-1] if self._running else ''

    def calls(self, enlarged: int = 1) -> list[Call]:
        """Every operator call of a pass, in order; ``enlarged`` multiplies the image's sides."""
        model, self._model = self._model, None
        try:
            return self._calls(enlarged)
        except Exception as error:  # from any network, of any type
            if model is None:
                raise
            self.on_meta = False
            self._network = to_fixed_copy(model, self.pools)
            note_running(self._network, self._running)
            try:
                return self._calls(enlarged)
            except Exception as real_error:
                raise real_error from error

    def _calls(self, enlarged: int) -> list[Call]:
        batch, channels, height, width = self._image
        image = torch.empty(batch, channels, height * enlarged, width * enlarged, device='meta')
        gpus = []
        if not self.on_meta:
            weight = next(self._network.parameters())
            alike = torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
            image = alike.to(weight.device, weight.dtype)
            gpus = [weight.device] if weight.is_cuda else []
        self._counter.calls = []
        self._running.clear()
        # A training's random state stays; attention counts as its matrix products.
        with (torch.no_grad(), torch.random.fork_rng(gpus), sdpa_kernel(SDPBackend.MATH),
              self._counter):
            self._forward(self._network, image)
        return self._counter.calls

    def gmacs(self, alphas: Mapping[str, Sequence[float]] | None = None) -> float:
        """Multiply-adds of one image in units of 1e9, sizes rounded.

        Args:
            alphas: ``{instance: (alpha_h, alpha_w)}`` to set first; the others stay.
        """
        for name, alpha in (alphas or {}).items():
            self.pools[name].set_alpha_(alpha)
        return sum(call.macs for call in self.calls()) / 1e9


def count_gmacs(model: nn.Module, shape: Sequence[int], in_channels: int = 3,
                forward: Callable | None = None) -> float:
    """GMACs of any network at its current sizes.

    A shorthand for [`GMACsCounter`][mmseg_dynopool.costs.GMACsCounter].

    Args:
        model: any network; it is neither run nor changed.
        shape: input size `(H, W)` in pixels.
        in_channels: channels of the input.
        forward: `forward(copy, input)` runs the copy; default `copy(input)`.

    Returns:
        Multiply-adds of one image in units of 1e9.

    Raises:
        ValueError: `shape` is not two positive sizes.

    Examples:
        >>> from mmseg_dynopool.costs import count_gmacs
        >>> from torch import nn
        >>> count_gmacs(nn.Conv2d(3, 8, 3, stride=2, padding=1), (512, 1024))
        0.028311552
    """
    return GMACsCounter(model, shape, in_channels, forward).gmacs()


class _Counter(TorchDispatchMode):

    def __init__(self, running: list[str]):
        super().__init__()
        self.calls: list[Call] = []
        self._running = running

    def __torch_dispatch__(self, func: OpOverload, types: Sequence[type],
                           args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
                           ) -> Any:
        output = run_on_meta(func, args, kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            # PyTorch counts a multiply-add as two operations.
            macs = formula(*args, **(kwargs or {}), out_val=output) / 2
            module = self._running[-1] if self._running else ''
            self.calls.append(Call(module, func._overloadpacket.__name__, macs))
        return output

    def note_pooling(self, name: str, pool: FixedDynOPool, args: object, output: Tensor) -> None:
        height, width = output.shape[-2:]
        macs = pool.macs_per_value * output.numel()
        self.calls.append(Call(name, 'dynopool', macs, (height, width)))
