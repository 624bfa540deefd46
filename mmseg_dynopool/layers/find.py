"""Find the DynOPools of a network."""

from torch import nn

from .dynopool import DynOPool
from .fixed import FixedDynOPool


def learned_pools(model: nn.Module) -> dict[str, DynOPool]:
    """The DynOPools that ``model`` owns, by their dotted names, each instance once."""
    return {n: m for n, m in model.named_modules() if isinstance(m, DynOPool)}


def all_pools(model: nn.Module) -> dict[str, DynOPool | FixedDynOPool]:
    """As :func:`learned_pools`, with those of fixed scale."""
    return {n: m for n, m in model.named_modules() if isinstance(m, (DynOPool, FixedDynOPool))}


def input_channels(model: nn.Module) -> int:
    """Channels of the image that ``model`` takes, as its first convolution tells.

    Raises:
        ValueError: it has no convolution.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    raise ValueError(f'{type(model).__name__} has no convolution that tells its input channels')


def short_name(name: str) -> str:
    """``'stream1'`` for ``'backbone.dynopools.stream1'``."""
    return name.rpartition('dynopools.')[2]
