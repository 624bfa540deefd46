"""Feature sizes of networks, from a log or a model, beside the stock network's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

from mmengine.model import BaseModel

from mmseg_dynopool.conversion.resolution import LevelName
from mmseg_dynopool.layers.find import all_pools, short_names
from mmseg_dynopool.layers.image import IMAGE

from .logs import RunLog

STOCK = 'stock network'
Size = tuple[int, int]
_FIRST = {IMAGE: 1, 'stem1': 2, 'stem2': 4}
_STREAM = re.compile(r'stream(\d)')


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes ``(h, w)`` by ``'image'``, ``'stem1'`` (if they learn), ``'stream0'``, ...

    For a converted network by ``'stride2'``, ``'stride4'``, ...; names that several parts of a
    network share are whole, ``'backbone.dynopools.stride2'``.
    """

    name: str
    input_size: Size
    sizes: dict[str, Size]

    @classmethod
    def of_log(cls, run: RunLog) -> 'NetworkSizes | None':
        """From the last line of a log; None if sizes were not logged."""
        sizes = run.last_sizes()
        return cls(run.name, sizes.pop('input'), sizes) if sizes else None

    @classmethod
    def of_model(cls, name: str, model: BaseModel, input_size: Sequence[int]) -> 'NetworkSizes':
        """Of a network with DynOPools, learned or frozen, at its current alphas.

        Raises:
            ValueError: it has none, or its sizes depend on more than the input's.
        """
        parts = {path: module for path, module in model.named_modules()
                 if hasattr(module, 'feature_sizes')}
        if not all_pools(model) or not parts:
            raise ValueError(f'the network of {name!r} holds no DynOPool: its sizes are the stock '
                             'ones; give the config and checkpoint of a DynOPoolHRNet or of a '
                             'converted network')
        height, width = input_size
        sizes = {f'{path}.dynopools.{level}': size for path, part in parts.items()
                 for level, size in part.feature_sizes((height, width)).items()
                 if level != 'stem2'}  # stream0 has the same
        short = short_names(sizes)
        return cls(name, (height, width), {short[level]: size for level, size in sizes.items()})


def stock_sizes(input_size: Sequence[int], names: Sequence[str]) -> dict[str, Size]:
    """Feature sizes of the stock network by the names of `NetworkSizes`."""
    height, width = input_size
    return {name: (ceil(height / down), ceil(width / right))
            for name, (down, right) in zip(names, map(_strides, names))}


def _strides(name: str) -> tuple[int, int]:
    """Total strides of height and width in the stock network."""
    name = name.rpartition('dynopools.')[2]
    if stream := _STREAM.fullmatch(name):
        return (2**(2 + int(stream[1])), ) * 2
    if level := LevelName.parse(name):
        return level.strides
    if name in _FIRST:
        return (_FIRST[name], ) * 2
    raise ValueError(f'{name!r} is not the image, no stream of an HRNet, which are stem1, stem2, '
                     'stream0, stream1, ..., and no level of a converted network, which are '
                     'stride2, stride4, ...')


def compare_sizes(networks: Sequence[NetworkSizes]) -> dict[str, dict[str, Size]]:
    """``{network: {name: (h, w)}}``: the stock network's sizes, then each network's.

    Raises:
        ValueError: the networks have inputs of different sizes.
    """
    inputs = {network.input_size for network in networks}
    if len(inputs) > 1:
        sizes = ', '.join('{} x {}'.format(*size) for size in sorted(inputs))
        raise ValueError(f'networks drawn beside each other need inputs of one size, got {sizes}; '
                         'draw them one by one')
    names = list(dict.fromkeys(name for network in networks for name in network.sizes))
    names.sort(key=lambda name: (prod(_strides(name)), name))
    return {STOCK: stock_sizes(inputs.pop(), names),
            **{network.name: network.sizes for network in networks}}
