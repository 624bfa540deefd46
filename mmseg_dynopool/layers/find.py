"""Find the poolings of a network."""

from torch import nn

from .fixed import FixedDynOPool
from .learned_pool import LearnedPool


def learned_pools(model: nn.Module) -> dict[str, LearnedPool]:
    """The poolings that learn their scale and that ``model`` owns, each instance once.

    They are :class:`DynOPool` or :class:`ShapeAdaptor`, by their dotted names.
    """
    return {n: m for n, m in model.named_modules() if isinstance(m, LearnedPool)}


def all_pools(model: nn.Module) -> dict[str, LearnedPool | FixedDynOPool]:
    """As :func:`learned_pools`, with those of fixed scale."""
    return {n: m for n, m in model.named_modules() if isinstance(m, (LearnedPool, FixedDynOPool))}


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


def unwrap(model: nn.Module) -> nn.Module:
    """The segmentor inside its wrappers (DDP, test-time augmentation)."""
    while hasattr(model, 'module'):
        model = model.module
    return model
