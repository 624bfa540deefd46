"""Multiply-adds of a network as a differentiable function of its scales.

The cost of a layer is proportional to the area of its output, so to the product of the scales
of the DynOPools above it: ``macs = macs_0 * prod_i (r_i / r_i0) ** e_i`` (main paper, the
complexity term). The exponents are found by probing the network, not by knowing it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.layers.find import all_pools

from .count import Call, GMACsCounter

# Probes run on enlarged meta tensors, where rounding a size moves no exponent: also those of a
# network with a total stride of 64 on an image of 25 pixels.
_ENLARGE = 64


@dataclass(frozen=True)
class LayerCost:
    """Cost of one operator call and how it follows the scales.

    Attributes:
        module: dotted name of the module it runs in.
        op: the operator, e.g. ``'convolution'``, or ``'dynopool'``.
        gmacs: multiply-adds at the initial scales, in 1e9.
        exponents: ``{instance: (e_h, e_w)}``, zeros left out.

    Examples:
        >>> from mmseg_dynopool.complexity import LayerCost
        >>> layer = LayerCost('decode_head.conv', 'convolution', 2.5, {'stride2': (1.0, 1.0)})
        >>> layer.gmacs * 0.5**sum(layer.exponents['stride2'])  # when its scale is halved
        0.625
    """

    module: str
    op: str
    gmacs: float
    exponents: dict[str, tuple[float, float]]


class ScaleTerms:
    """A sum of products of powers of the scales, ``sum_t c_t * prod_i (r_i / r_i0) ** e_ti``.

    Args:
        initial_scales: ``{instance: (scale_h, scale_w)}``, the ``r_i0``.
        coefficients: ``{exponents: c_t}``; the exponents are one tuple of numbers, those of
            height and width of each instance in turn.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.complexity import ScaleTerms
        >>> terms = ScaleTerms({'stride2': (0.5, 0.5)}, {(1.0, 1.0): 8.0, (0.0, 0.0): 2.0})
        >>> terms.parts({'stride2': torch.tensor([2.0, 4.0])})
        tensor([4., 2.], dtype=torch.float64)
    """

    def __init__(self, initial_scales: Mapping[str, Sequence[float]],
                 coefficients: Mapping[tuple[float, ...], float]):
        self.initial_scales = {name: tuple(pair) for name, pair in initial_scales.items()}
        self.coefficients = dict(coefficients)
        self._coefficients = torch.tensor(list(self.coefficients.values()), dtype=torch.float64)
        self._exponents = torch.tensor(list(self.coefficients), dtype=torch.float64)
        self._log_initial = torch.tensor(
            [math.log(s) for pair in self.initial_scales.values() for s in pair],
            dtype=torch.float64)

    @property
    def initial(self) -> float:
        """The sum at the initial scales."""
        return float(self._coefficients.sum())

    def parts(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """Its terms at ``alphas``, float64 ``(T,)``, differentiable in them.

        Args:
            alphas: ``{instance: tensor (alpha_h, alpha_w)}``, all on one device.
        """
        stacked = torch.cat([alphas[name] for name in self.initial_scales]).double()
        device = stacked.device
        log_ratio = -stacked.log() - self._log_initial.to(device, non_blocking=True)
        factors = (self._exponents.to(device, non_blocking=True) @ log_ratio).exp()
        return self._coefficients.to(device, non_blocking=True) * factors


class ComplexityModel:
    """GMACs of a network at any setting of its alphas.

    Made by [`probe_complexity`][mmseg_dynopool.complexity.probe_complexity].

    Args:
        layers: cost of every operator call.
        initial_scales: ``{instance: (scale_h, scale_w)}`` at which they were counted.
        shape: input size ``(H, W)`` in pixels.

    Attributes:
        terms: GMACs by exponents: calls with the same ones add up, and a handful of terms remain
            of hundreds.
        of_layer: the exponents of each layer, a key of ``terms.coefficients``.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.complexity import ComplexityModel, LayerCost
        >>> layers = [LayerCost('conv', 'convolution', 2.5, {'stride2': (1.0, 1.0)})]
        >>> cost = ComplexityModel(layers, {'stride2': (0.5, 0.5)}, (512, 1024))
        >>> cost.gmacs({'stride2': torch.tensor([2.0, 4.0])})
        tensor(1.2500, dtype=torch.float64)
    """

    def __init__(self, layers: Sequence[LayerCost],
                 initial_scales: dict[str, tuple[float, float]], shape: Sequence[int]):
        self.layers = list(layers)
        self.initial_scales = dict(initial_scales)
        self.shape = tuple(shape)
        self.of_layer = [tuple(e for name in self.initial_scales
                               for e in layer.exponents.get(name, (0.0, 0.0)))
                         for layer in self.layers]
        self.terms = ScaleTerms(self.initial_scales,
                                self.add_up(layer.gmacs for layer in self.layers))

    @property
    def initial_gmacs(self) -> float:
        """GMACs at the initial scales."""
        return self.terms.initial

    def gmacs(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """GMACs at ``alphas``, differentiable in them.

        Args:
            alphas: ``{instance: tensor (alpha_h, alpha_w)}``, all on one device.

        Returns:
            float64 scalar in units of 1e9 multiply-adds.
        """
        return self.terms.parts(alphas).sum()

    def add_up(self, values: Iterable[float]) -> dict[tuple[float, ...], float]:
        """Values of the layers, in their order, summed by exponents."""
        sums: dict[tuple, float] = {}
        for key, value in zip(self.of_layer, values, strict=True):
            sums[key] = sums.get(key, 0.0) + value
        return sums


def probe_complexity(model: nn.Module,
                     shape: Sequence[int],
                     in_channels: int = 3,
                     forward: Callable | None = None) -> ComplexityModel:
    """Find how the cost of ``model`` depends on the scale of each DynOPool in it.

    Of a network in which no scale learns, the fixed ones are probed.

    Runs shape-only forwards of a copy on the meta device, with one scale changed at a time.
    ``model`` itself is neither run nor changed.

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
        >>> from mmseg_dynopool.complexity import probe_complexity
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
    at_shape, base = counter.calls(), counter.calls(_ENLARGE)
    exponents: list[dict[str, tuple[float, float]]] = [{} for _ in base]
    for name, pool in pools.items():
        for axis in (0, 1):
            scale = list(pool.initial_scale)
            scale[axis] /= 2
            pool.set_scale_(scale)
            changed = counter.calls(_ENLARGE)
            pool.set_scale_(pool.initial_scale)
            _check_same_calls(base, changed, name)
            for by_pool, before, after in zip(exponents, base, changed):
                exponent = _exponent(before.macs, after.macs)
                if exponent:
                    pair = list(by_pool.get(name, (0.0, 0.0)))
                    pair[axis] = exponent
                    by_pool[name] = pair[0], pair[1]
    _check_same_calls(base, at_shape, 'none')
    layers = [
        LayerCost(call.module, call.op, call.macs / 1e9, by_pool)
        for call, by_pool in zip(at_shape, exponents)
    ]
    return ComplexityModel(layers, {n: p.initial_scale for n, p in pools.items()}, shape)


def _exponent(before: float, after: float) -> float:
    """Exponent of a cost that went from ``before`` to ``after`` when a scale was halved."""
    if before == 0 or after == 0:
        return 0.0
    exponent = math.log2(before / after)
    return float(round(exponent)) if abs(exponent - round(exponent)) < 0.05 else exponent


def _check_same_calls(base: list[Call], probed: list[Call], name: str) -> None:
    if [(c.module, c.op) for c in base] != [(c.module, c.op) for c in probed]:
        raise RuntimeError(
            f'the operators that run change with the size (probed instance: {name}); the cost '
            'of such a network is no product of powers of the scales')
