"""Feature sizes of networks, by a log or a model, beside the stock network's."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from mmseg.models import BaseSegmentor

from mmseg_dynopool.layers import all_pools

from .logs import RunLog

STOCK = 'stock: stride 2'
Size = tuple[int, int]
_REDUCTIONS = dict(stem1=2, stem2=4) | {f'stream{k}': 2**(2 + k) for k in range(10)}


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes in a run or checkpoint, ``{'stem1' (if it learns), 'stream0', ...: (h, w)}``."""

    name: str
    input_size: Size
    sizes: dict[str, Size]

    @classmethod
    def of_log(cls, run: RunLog) -> 'NetworkSizes | None':
        """By the last line of a log; None where sizes were not logged."""
        sizes = run.last_sizes()
        return cls(run.name, sizes.pop('input'), sizes) if sizes else None

    @classmethod
    def of_model(cls, name: str, model: BaseSegmentor, input_size: Sequence[int]) -> 'NetworkSizes':
        """Of a network with DynOPools, learned or frozen, at its current alphas.

        Raises:
            ValueError: it has none.
        """
        if not all_pools(model) or not hasattr(model.backbone, 'feature_sizes'):
            raise ValueError(f'the network of {name!r} holds no DynOPool: its sizes are the stock '
                             'ones; give the config and checkpoint of a DynOPoolHRNet')
        sizes = model.backbone.feature_sizes(tuple(input_size))
        sizes.pop('stem2', None)  # stream0 has the same
        return cls(name, tuple(input_size), sizes)


def stock_sizes(input_size: Sequence[int], names: Sequence[str]) -> dict[str, Size]:
    """Feature sizes of the stock HRNet, whose every reduction has stride 2, by name of the stream.

    Raises:
        ValueError: a name is not ``'stem1'``, ``'stem2'``, ``'stream0'``, ``'stream1'``, ...
    """
    for name in names:
        if name not in _REDUCTIONS:
            raise ValueError(f'{name!r} is no stream of an HRNet, which are stem1, stem2, stream0, '
                             'stream1, ...')
    return {name: tuple(ceil(n / _REDUCTIONS[name]) for n in input_size) for name in names}


def compare_sizes(networks: Sequence[NetworkSizes]) -> dict[str, dict[str, Size]]:
    """``{network: {stream: (h, w)}}``: the stock network's sizes, then each network's.

    Raises:
        ValueError: the networks have inputs of different sizes.
    """
    inputs = {network.input_size for network in networks}
    if len(inputs) > 1:
        sizes = ', '.join('{} x {}'.format(*size) for size in sorted(inputs))
        raise ValueError(f'networks drawn beside each other need inputs of one size, got {sizes}; '
                         'draw them one by one')
    streams = list(dict.fromkeys(name for network in networks for name in network.sizes))
    streams.sort(key=lambda name: (name.startswith('stream'), name))
    return {STOCK: stock_sizes(inputs.pop(), streams),
            **{network.name: network.sizes for network in networks}}
