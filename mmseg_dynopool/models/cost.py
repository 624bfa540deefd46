"""How the cost of a whole network, a segmentor or a classifier, is counted and named."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmengine.model import BaseModel
from torch import Tensor, nn

from mmseg_dynopool.costs import GMACsCounter
from mmseg_dynopool.layers.find import input_channels, unwrap

_SHOWN = 5


def forward_without_postprocessing(network: BaseModel, image: Tensor) -> Tensor:
    """Run backbone and heads; the ``forward`` of counts and probes."""
    return network(image, mode='tensor')


def takes(network: BaseModel, shape: Sequence[int]) -> bool:
    """Whether a network runs on images of ``shape = (H, W)``; UNet takes multiples of 16."""
    try:
        count_network_gmacs(network, shape)
    except Exception:  # from any network, of any type
        return False
    return True


def network_counter(network: BaseModel, shape: Sequence[int]) -> GMACsCounter:
    """Counts GMACs of one image of ``shape = (H, W)``, rounded sizes, at any alphas."""
    return GMACsCounter(network, shape, input_channels(network),
                        forward_without_postprocessing)


def count_network_gmacs(network: BaseModel, shape: Sequence[int]) -> float:
    """Multiply-adds in 1e9 of one image at the current sizes, rounding included.

    Args:
        network: a segmentor or classifier, stock or with DynOPools; backbone and heads count.
        shape: `(H, W)` of the image.

    Examples:
        >>> from mmengine.config import Config
        >>> from mmseg_dynopool import config_path
        >>> from mmseg_dynopool.checkpoints import load_network
        >>> from mmseg_dynopool.models import count_network_gmacs
        >>> cfg = Config.fromfile(config_path('demo_dynopool_mni152.py'))
        >>> round(count_network_gmacs(load_network(cfg, None), (160, 160)), 2)
        0.46
    """
    return network_counter(network, shape).gmacs()


@contextmanager
def watch_shapes(model: nn.Module) -> Iterator[Counter]:
    """Count the image sizes ``(H, W)`` that pass through a network's backbone.

    Args:
        model: a segmentor or classifier, possibly wrapped (DDP, test-time augmentation).

    Yields:
        The counter; it fills while the block runs.
    """
    seen: Counter = Counter()
    handle = unwrap(model).backbone.register_forward_pre_hook(  # type: ignore[union-attr]
        lambda module, args: seen.update([tuple(args[0].shape[-2:])]))
    try:
        yield seen
    finally:
        handle.remove()


def describe_gmacs(model: nn.Module, shapes: Counter) -> str:
    """The counted GMACs of one image at the most frequent of ``shapes``, learned sizes included."""
    parts = []
    for shape, _ in shapes.most_common(_SHOWN):
        gmacs = count_network_gmacs(unwrap(model), shape)
        parts.append(f'{gmacs:.4g} GMACs at {shape[0]} x {shape[1]}')
    more = f' and {len(shapes) - _SHOWN} more shapes' if len(shapes) > _SHOWN else ''
    return ', '.join(parts) + more
