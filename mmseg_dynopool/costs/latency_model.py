"""Milliseconds of a network at any setting of its scales."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmseg_dynopool.files import write_file

from .cost import Alphas, Posynomial
from .multiply_adds import ComplexityModel

Scales = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class LatencyModel:
    """Time of one forward pass: a constant, and a weight per resolution level of the network.

    A level is a product of scales on which multiply-adds depend alike, see
    [`ComplexityModel`][mmseg_dynopool.costs.ComplexityModel]. Made by
    [`fit_latency`][mmseg_dynopool.costs.fit_latency].

    Attributes:
        initial_scales: ``{instance: (scale_h, scale_w)}``.
        gmacs: GMACs of each level at the initial scales, ``{exponents: number}``.
        weights: milliseconds of each level at the initial scales. The level with no exponents
            includes what takes time but no multiply-adds.
        start_scales: scales that were timed in each turn.
        start_ms: their time, which may be less than the weights' sum.
        shape: input size ``(H, W)`` in pixels.
        batch: images per forward pass.
        device: its name, see [`device_name`][mmseg_dynopool.costs.device_name].
        torch: the version of PyTorch.
        settings: what was measured: ``{'scales', 'ms', 'predicted_ms'}`` each, where the
            prediction comes from a fit to the other settings.

    Raises:
        ValueError: a time is not finite, or there are none, or exponents and scales do not fit.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.costs import LatencyModel
        >>> scales, levels = {'stride2': (0.5, 0.5)}, {(1.0, 1.0): 8.0, (0.0, 0.0): 2.0}
        >>> found = LatencyModel(scales, levels, levels, scales, 10.0, (512, 1024), 1, 'a GPU',
        ...                      '2.6', [dict(scales=scales, ms=10.0, predicted_ms=9.5)])
        >>> found.milliseconds({'stride2': torch.tensor([2.0, 4.0])})  # half as wide
        tensor(6., dtype=torch.float64)
    """

    initial_scales: dict[str, tuple[float, float]]
    gmacs: dict[tuple[float, ...], float]
    weights: dict[tuple[float, ...], float]
    start_scales: dict[str, tuple[float, float]]
    start_ms: float
    shape: tuple[int, int]
    batch: int
    device: str
    torch: str
    settings: list[dict[str, Any]]

    def __post_init__(self) -> None:
        values = [self.start_ms, *self.weights.values()]
        if not all(map(math.isfinite, values)) or not self.start_ms > 0 or not self.settings:
            raise ValueError('a time is not finite, or there are none')
        if any(len(key) != 2 * len(self.initial_scales) for key in (*self.weights, *self.gmacs)):
            raise ValueError('exponents and initial scales differ in number')

    @property
    def initial_ms(self) -> float:
        """Milliseconds at the initial scales, as measured where these were timed."""
        same = self.initial_scales == self.start_scales
        return self.start_ms if same else sum(self.weights.values())

    @property
    def errors(self) -> tuple[float, float]:
        """Median and largest leave-one-out error of the measured settings, relative."""
        errors = [abs(s['predicted_ms'] / s['ms'] - 1) for s in self.settings]
        return float(np.median(errors)), max(errors)

    @cached_property
    def _terms(self) -> Posynomial:
        return Posynomial(self.initial_scales, self.weights)

    def milliseconds(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """Milliseconds at ``{instance: alpha (2,)}``, a float64 scalar, differentiable."""
        return self._terms.parts(alphas).sum()

    def counted(self, model: nn.Module, cost: ComplexityModel) -> Callable[[Alphas], float]:
        """A function that tells milliseconds at alphas, sizes rounded.

        ``cost`` are the multiply-adds of ``model`` at `shape`.
        """
        counter = cost.counter(model)

        def count(alphas: Alphas) -> float:
            for name, alpha in alphas.items():
                counter.pools[name].set_alpha_(alpha)
            macs = cost.add_up(call.macs / 1e9 for call in counter.calls())
            return sum(ms * macs[key] / self.gmacs[key] if self.gmacs.get(key) else ms
                       for key, ms in self.weights.items())

        return count

    def told_from(self, cost: ComplexityModel) -> 'LatencyModel':
        """The same model relative to the initial scales of the network whose cost is ``cost``.

        Raises:
            ValueError: it is of another network, or counted at another shape.
        """
        wrong = ''
        if list(self.initial_scales) != list(cost.initial_scales):
            wrong = f'DynOPools {list(self.initial_scales)}, not {list(cost.initial_scales)}'
        elif set(self.gmacs) != set(cost.terms.coefficients):
            wrong = 'layers below other products of scales'
        else:
            alphas = {name: 1 / torch.tensor(pair) for name, pair in cost.initial_scales.items()}
            gmacs, weights = (dict(zip(terms, Posynomial(self.initial_scales, terms).parts(
                alphas).tolist())) for terms in (self.gmacs, self.weights))
            there, here = sum(gmacs.values()), cost.initial
            if abs(there / here - 1) > 0.03:  # rounded sizes differ by less
                wrong = f'{there:.4g} GMACs at its scales, not {here:.4g}'
        if wrong:
            raise ValueError(f'the latency model is of another network: it has {wrong}; measure '
                             'this one with tools/latency.py')
        if self.initial_scales == cost.initial_scales:
            return self
        return replace(self, initial_scales=dict(cost.initial_scales), gmacs=gmacs,
                       weights=weights)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` takes, and a file holds."""
        return asdict(self) | {
            key: [dict(exponents=list(exponents), value=value)
                  for exponents, value in getattr(self, key).items()]
            for key in ('gmacs', 'weights')}

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        write_file(path, json.dumps(self.to_dict(), indent=1).encode())

    @classmethod
    def load(cls, path: str | Path) -> 'LatencyModel':
        """Read what `save` wrote; a ValueError if that cannot be read, or is something else."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text()))
        except Exception as error:  # a file may hold anything
            raise ValueError(f'cannot read a latency model from {str(path)!r} '
                             f'({type(error).__name__}: {error}); tools/latency.py writes one'
                             ) from error

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> 'LatencyModel':
        """The inverse of `to_dict`."""
        levels = {key: {tuple(level['exponents']): float(level['value']) for level in fields[key]}
                  for key in ('gmacs', 'weights')}
        scales = {key: {name: tuple(pair) for name, pair in fields[key].items()}
                  for key in ('initial_scales', 'start_scales')}
        return cls(**fields | levels | scales | dict(shape=tuple(map(int, fields['shape']))))
