"""Measure a network at several settings of its scales, and fit a latency model to the times."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from scipy.optimize import nnls  # type: ignore[import-untyped]
from torch import nn

from mmseg_dynopool.layers import FixedDynOPool, learned_pools
from mmseg_dynopool.layers.find import all_pools

from .count import GMACsCounter
from .latency_model import LatencyModel, Scales
from .meta_copy import run_plainly, to_fixed_copy
from .multiply_adds import probe_complexity
from .timing import device_name, time_alternately

# Relative to the initial scales; the multiply-adds below three levels vary 50-fold.
_LEAST, _MOST = 0.6, 1.3
_FEWEST, _MOST_TURNS, _SECONDS = 8, 100, 20.0


def fit_latency(model: nn.Module, shape: Sequence[int], in_channels: int = 3,
                forward: Callable | None = None, settings: int | None = None,
                repeats: int | None = None, batch: int = 1, seed: int = 0) -> LatencyModel:
    """Time a network at random scales on its device, and fit a latency model.

    A copy with fixed scales runs in evaluation mode, at the initial and the random scales in
    turns; what counts are medians of the times relative to the initial scales' in the same turn.
    The fit minimizes relative errors, with no negative weight. It leaves the initial scales out: at
    0.5 on even sizes a DynOPool has nothing to resample. The first arguments are those of a
    [`GMACsCounter`][mmseg_dynopool.costs.GMACsCounter].

    Args:
        settings: number of random settings; default: 16, or twice the number of levels if more.
        repeats: turns; default: as many as take 20 seconds, from 8 to 100.
        batch: images per forward pass.
        seed: of the settings.

    Raises:
        ValueError: there is no DynOPool in ``model``, or a ShapeAdaptor, or too few settings.

    Examples:
        >>> from mmseg_dynopool.costs import fit_latency
        >>> from mmseg_dynopool.layers import DynOPool
        >>> from torch import nn
        >>> network = nn.Sequential(DynOPool(0.5), nn.Conv2d(3, 8, 3, padding=1))
        >>> found = fit_latency(network, (64, 64), repeats=2)
        >>> list(found.weights)  # a level below the DynOPool, and a constant time
        [(1.0, 1.0), (0.0, 0.0)]
    """
    for pool in all_pools(model).values():
        if not pool.can_be_constant:
            raise ValueError(
                f'a {type(pool).__name__} has no form with constant scales, and none can be timed; '
                "give it a gmacs_budget, or use dynopool=dict(type='DynOPool')")
    cost = probe_complexity(model, shape, in_channels, forward)
    base = dict(cost.terms.coefficients)
    if settings is None:
        settings = max(16, 2 * len(base))
    if settings < len(base) + 2:
        raise ValueError(f'settings must be at least {len(base) + 2}, got {settings!r}: the '
                         f'network has {len(base)} levels')
    tried = _random_scales(model, settings, seed)
    seconds = measure_latency(model, [cost.initial_scales, *tried], shape, in_channels, forward,
                              repeats, batch)
    start_ms = float(1e3 * np.median(seconds[0]))
    ms = start_ms * relative_times(seconds)[1:]

    counter = GMACsCounter(model, shape, in_channels, forward)
    constant = (0.0, ) * 2 * len(cost.initial_scales)  # of no layer where the image is pooled
    levels = list(dict.fromkeys([*base, constant]))
    rows = []
    for scales in tried:
        for name, pair in scales.items():
            counter.pools[name].set_scale_(pair)
        macs = cost.add_up(call.macs / 1e9 for call in counter.calls())
        rows.append([macs[level] / base[level] if any(level) else 1.0 for level in levels])
    shares = np.array(rows)
    without = [_fit(np.delete(shares, i, 0), np.delete(ms, i)) for i in range(len(ms))]
    measured = [dict(scales={name: list(pair) for name, pair in scales.items()}, ms=float(time),
                     predicted_ms=float(row @ weights))
                for scales, time, row, weights in zip(tried, ms, shares, without)]
    device = next(model.parameters()).device
    return LatencyModel(
        dict(cost.initial_scales), base, dict(zip(levels, _fit(shares, ms).tolist())),
        dict(cost.initial_scales), start_ms, (shape[0], shape[1]), batch, device_name(device),
        str(torch.__version__), measured)


def measure_latency(model: nn.Module, tried: Sequence[Scales], shape: Sequence[int],
                    in_channels: int = 3, forward: Callable | None = None,
                    repeats: int | None = None, batch: int = 1) -> np.ndarray:
    """Time a network at several settings of its scales, in turns.

    Args:
        model: a network with at least one DynOPool; it is neither run nor changed.
        tried: `{instance: (scale_h, scale_w)}` each.
        shape: input size `(H, W)` in pixels.
        in_channels: channels of the input.
        forward: `forward(copy, input)` runs the copy, whatever it returns; default `copy(input)`.
        repeats: turns; default: as many as take 20 seconds, from 8 to 100.
        batch: images per forward pass.

    Returns:
        Seconds, ``(settings, repeats)``.

    Raises:
        ValueError: ``repeats`` is 1.

    Examples:
        >>> from mmseg_dynopool.costs import measure_latency
        >>> from mmseg_dynopool.layers import DynOPool
        >>> from torch import nn
        >>> network = nn.Sequential(DynOPool(0.5), nn.Conv2d(3, 8, 3, padding=1))
        >>> measure_latency(network, [{'0': (0.5, 0.5)}, {'0': (0.3, 0.4)}], (64, 64),
        ...                 repeats=4).shape
        (2, 4)
    """
    if repeats == 1:
        raise ValueError('repeats must be at least 2, got 1: every second turn is reversed')
    weight = next(model.parameters())
    device = weight.device
    network = to_fixed_copy(model)
    pools = cast(dict[str, FixedDynOPool], all_pools(network))
    # A separate generator leaves a training's random state alone.
    image = torch.rand(batch, in_channels, *shape, generator=torch.Generator().manual_seed(0))
    image = image.to(device, weight.dtype)

    def set_scales(setting: str) -> None:
        for name, pair in tried[int(setting)].items():
            pools[name].set_scale_(pair)

    runs = {str(i): partial(forward or run_plainly, network, image) for i in range(len(tried))}
    with torch.no_grad():
        if repeats is None:
            turn = sum(min(times) for times in time_alternately(
                runs, 2, device, prepare=set_scales).values())
            repeats = max(_FEWEST, min(_MOST_TURNS, round(_SECONDS / turn)))
        seconds = time_alternately(runs, repeats, device, prepare=set_scales)
    return np.array(list(seconds.values()))


def measure_again(found: LatencyModel, model: nn.Module, scales: Scales, in_channels: int = 3,
                  forward: Callable | None = None, repeats: int | None = None
                  ) -> tuple[float, float]:
    """Time a network at ``scales`` and, in turns, at the start scales of its latency model.

    Returns:
        Milliseconds at ``scales``, as if the machine were as fast as when the model was made; and
        those at ``found.start_scales`` now.
    """
    seconds = measure_latency(model, [found.start_scales, scales], found.shape, in_channels,
                              forward, repeats, found.batch)
    return found.start_ms * float(relative_times(seconds)[1]), 1e3 * float(np.median(seconds[0]))


def relative_times(seconds: np.ndarray) -> np.ndarray:
    """Times ``(settings,)`` relative to the first setting's, from those of `measure_latency`.

    Medians over turns in one order and in the other, averaged: a steady drift of the machine's
    speed favours late settings in one and early ones in the other.
    """
    ratios = seconds / seconds[0]
    return (np.median(ratios[:, ::2], axis=1) + np.median(ratios[:, 1::2], axis=1)) / 2


def _random_scales(model: nn.Module, count: int, seed: int) -> Sequence[Scales]:
    """Scales around the initial ones, inside their bounds."""
    draw = np.random.default_rng(seed)
    tried: list[dict[str, Sequence[float]]] = [{} for _ in range(count)]
    for name, pool in (learned_pools(model) or all_pools(model)).items():
        low, high = getattr(pool, 'bounds', (0, math.inf))
        for scales in tried:
            factors = np.exp(draw.uniform(math.log(_LEAST), math.log(_MOST), 2))
            scales[name] = tuple(float(min(max(r * f, low), high))
                                 for r, f in zip(pool.initial_scale, factors))
    return tried


def _fit(shares: np.ndarray, ms: np.ndarray) -> np.ndarray:
    return nnls(shares / ms[:, None], np.ones(len(ms)))[0]
