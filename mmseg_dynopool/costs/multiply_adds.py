"""Multiply-adds of a network as a differentiable function of its scales.

The cost of a layer is proportional to the area of its output, so to the product of the scales
of the DynOPools above it: ``macs = macs_0 * prod_i (r_i / r_i0) ** e_i`` (main paper, the
complexity term). The exponents are found by probing.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.layers.find import all_pools

from .budget import Budget
from .cost import Alphas, Cost, LearnedMap, Posynomial
from .count import Call, GMACsCounter

# Probes run on enlarged meta tensors, where rounding a size moves no exponent, even with a total
# stride of 64 on an image of 25 pixels.
_ENLARGE = 64


@dataclass(frozen=True)
class LayerCost:
    """Cost of one operator call and how it follows the scales.

    Attributes:
        module: dotted name of the module it runs in.
        op: the operator, e.g. ``'convolution'``, or ``'dynopool'``.
        gmacs: multiply-adds at the initial scales, in 1e9.
        exponents: ``{instance: (e_h, e_w)}``, zeros left out.
        size: of a pooling's output at the initial scales, ``(H, W)``, not rounded.

    Examples:
        >>> from mmseg_dynopool.costs import LayerCost
        >>> layer = LayerCost('decode_head.conv', 'convolution', 2.5, {'stride2': (1.0, 1.0)})
        >>> layer.gmacs * 0.5**sum(layer.exponents['stride2'])  # when its scale is halved
        0.625
    """

    module: str
    op: str
    gmacs: float
    exponents: dict[str, tuple[float, float]]
    size: tuple[float, float] | None = None


class ComplexityModel(Cost):
    """GMACs of a network at any setting of its alphas.

    Made by [`probe_complexity`][mmseg_dynopool.costs.probe_complexity].

    Args:
        layers: cost of every operator call.
        initial_scales: ``{instance: (scale_h, scale_w)}`` at which they were counted.
        shape: input size ``(H, W)`` in pixels.
        in_channels: channels of the input.
        forward: ``forward(copy, input)`` runs a copy.

    Attributes:
        terms: GMACs of all layers with the same exponents.
        of_layer: the exponents of each layer, a key of ``terms.coefficients``.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.costs import ComplexityModel, LayerCost
        >>> layers = [LayerCost('conv', 'convolution', 2.5, {'stride2': (1.0, 1.0)})]
        >>> cost = ComplexityModel(layers, {'stride2': (0.5, 0.5)}, (512, 1024))
        >>> cost.gmacs({'stride2': torch.tensor([2.0, 4.0])})
        tensor(1.2500, dtype=torch.float64)
    """

    name: ClassVar[str] = 'gmacs'
    scalar: ClassVar[str] = 'gmacs'
    unit: ClassVar[str] = 'GMACs'

    def __init__(self, layers: Sequence[LayerCost],
                 initial_scales: dict[str, tuple[float, float]], shape: Sequence[int],
                 in_channels: int = 3, forward: Callable | None = None):
        self.layers = list(layers)
        self.initial_scales = dict(initial_scales)
        self.shape = tuple(shape)
        self.in_channels = in_channels
        self.forward = forward
        self.of_layer = [tuple(e for name in self.initial_scales
                               for e in layer.exponents.get(name, (0.0, 0.0)))
                         for layer in self.layers]
        self.terms = Posynomial(self.initial_scales,
                                self.add_up(layer.gmacs for layer in self.layers))

    @property
    def initial(self) -> float:
        """GMACs at the initial scales."""
        return self.terms.initial

    initial_gmacs = initial  # its name in version 0.3

    def gmacs(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """GMACs at ``{instance: alpha (2,)}``, a float64 scalar, differentiable."""
        return self.terms.parts(alphas).sum()

    __call__ = gmacs

    def counter(self, model: nn.Module) -> GMACsCounter:
        """Counts ``model`` operator by operator, sizes rounded, at `shape`."""
        return GMACsCounter(model, self.shape, self.in_channels, self.forward)

    def counted(self, model: nn.Module) -> Callable[[Alphas], float]:
        return self.counter(model).gmacs

    def maps(self) -> list[LearnedMap]:
        """The outputs of the poolings; equal ones of a pooling once."""
        found = {(layer.module, layer.size, *layer.exponents.items()): LearnedMap(
            layer.module, layer.size, layer.exponents)
            for layer in self.layers if layer.op == 'dynopool' and layer.size}
        return list(found.values())

    def add_up(self, values: Iterable[float]) -> dict[tuple[float, ...], float]:
        """Values of the layers, in their order, summed by exponents."""
        sums: dict[tuple, float] = {}
        for key, value in zip(self.of_layer, values, strict=True):
            sums[key] = sums.get(key, 0.0) + value
        return sums


def probe_complexity(model: nn.Module, shape: Sequence[int], in_channels: int = 3,
                     forward: Callable | None = None) -> ComplexityModel:
    """Find how the cost of ``model`` depends on the scale of each DynOPool in it.

    If no scale learns, the fixed ones are probed. A copy runs with one scale changed at a time, by
    shapes alone if it can, as in [`GMACsCounter`][mmseg_dynopool.costs.GMACsCounter]. ``model``
    itself is neither run nor changed.

    Args:
        model: a network with at least one `DynOPool`.
        shape: input size ``(H, W)`` in pixels at which GMACs are counted.
        in_channels: channels of the input.
        forward: ``forward(copy, input)`` runs the copy; default ``copy(input)``.

    Returns:
        The cost at the initial scales and the exponents.

    Raises:
        ValueError: there is no DynOPool in ``model``, or ``shape`` is not two positive sizes.
        RuntimeError: the operators that run depend on the scales.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.costs import probe_complexity
        >>> from mmseg_dynopool.layers import DynOPool
        >>> from torch import nn
        >>> network = nn.Sequential(DynOPool(0.5), nn.Conv2d(3, 8, 3, padding=1))
        >>> cost = probe_complexity(network, (512, 1024))
        >>> cost.layers[-1].exponents
        {'0': (1.0, 1.0)}
        >>> cost.gmacs({'0': torch.tensor([4.0, 4.0])})
        tensor(0.0087, dtype=torch.float64)
    """
    probed = learned_pools(model) or all_pools(model)
    if not probed:
        raise ValueError(f'{type(model).__name__} holds no DynOPool: its cost has no scale')
    counter = GMACsCounter(model, shape, in_channels, forward)
    pools = {name: counter.pools[name] for name in probed}
    for pool in pools.values():
        pool.set_scale_(pool.initial_scale)
    at_shape = counter.calls()
    enlarged, base = _enlarged(counter, at_shape)
    exponents: list[dict[str, tuple[float, float]]] = [{} for _ in base]
    for name, pool in pools.items():
        pairs = [[0.0, 0.0] for _ in base]
        for axis in (0, 1):
            scale = list(pool.initial_scale)
            scale[axis] /= 2
            pool.set_scale_(scale)
            try:
                changed = counter.calls(enlarged)
            except Exception as error:  # from any network, of any type
                raise ValueError(
                    f'{counter.running or type(model).__name__} fails where the scale of {name} '
                    f'alone is halved ({type(error).__name__}: {error}); resize feature maps to '
                    'one size before they meet, or let both have one backbone') from error
            pool.set_scale_(pool.initial_scale)
            _check_same_calls(base, changed, name)
            for pair, before, after in zip(pairs, base, changed):
                pair[axis] = _exponent(before.macs, after.macs)
        for by_pool, (e_h, e_w) in zip(exponents, pairs):
            if e_h or e_w:
                by_pool[name] = e_h, e_w
    layers = [
        LayerCost(call.module, call.op, call.macs / 1e9, by_pool,
                  large.size and (large.size[0] / enlarged, large.size[1] / enlarged))
        for call, large, by_pool in zip(at_shape, base, exponents)
    ]
    return ComplexityModel(layers, {n: p.initial_scale for n, p in pools.items()}, shape,
                           in_channels, forward)


def _enlarged(counter: GMACsCounter, at_shape: list[Call]) -> tuple[int, list[Call]]:
    """The factor that enlarges the probes' inputs, and the calls at the initial scales then.

    1 if the network runs on numbers, or takes no such images.
    """
    if not counter.on_meta:
        return 1, at_shape
    try:
        calls = counter.calls(_ENLARGE)
    except Exception:  # from any network, of any type
        return 1, at_shape
    _check_same_calls(calls, at_shape, 'none')
    return _ENLARGE, calls


def _check_same_calls(base: list[Call], probed: list[Call], name: str) -> None:
    if [(c.module, c.op) for c in base] != [(c.module, c.op) for c in probed]:
        raise RuntimeError(
            f'the operators that run change with the size (probed instance: {name}); the cost '
            'of such a network is no product of powers of the scales')


def _exponent(before: float, after: float) -> float:
    """Exponent of a cost that went from ``before`` to ``after`` when a scale was halved."""
    if before == 0 or after == 0:
        return 0.0
    exponent = math.log2(before / after)
    return float(round(exponent)) if abs(exponent - round(exponent)) < 0.05 else exponent


@dataclass(frozen=True, kw_only=True)
class GMACsBudget(Budget):
    """A budget of multiply-adds, ``gmacs_budget=dict(...)``.

    Attributes:
        target_gmacs: wanted cost in 1e9 multiply-adds at the training crop.

    Raises:
        ValueError: an option is malformed.

    Examples:
        >>> from mmseg_dynopool.costs import GMACsBudget
        >>> GMACsBudget(target=0.6).wanted(initial=150.0)  # GMACs of the stock network
        90.0
        >>> GMACsBudget(target_gmacs=100.0).wanted(initial=150.0)
        100.0
    """

    cost_type: ClassVar[type[Cost]] = ComplexityModel

    target_gmacs: float | None = None

    def cost(self, model: nn.Module, shape: Sequence[int], in_channels: int = 3,
             forward: Callable | None = None, state: dict[str, Any] | None = None
             ) -> ComplexityModel:
        return probe_complexity(model, shape, in_channels, forward)
