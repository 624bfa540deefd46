"""How the cost of a whole network, a segmentor or a classifier, is counted and named."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from mmseg_dynopool.costs import GMACsCounter

from .whole_network import network_forward, unwrap

_SHOWN = 5


def takes(network: nn.Module, shape: Sequence[int], **options: Any) -> bool:
    """Whether a network runs on images of ``shape = (H, W)``; UNet takes multiples of 16."""
    try:
        count_network_gmacs(network, shape, **options)
    except Exception:  # from any network, of any type
        return False
    return True


def network_counter(network: nn.Module, shape: Sequence[int], **options: Any) -> GMACsCounter:
    """Counts GMACs of one image of ``shape = (H, W)``, rounded sizes, at any alphas."""
    return GMACsCounter(network, shape, *network_forward(network, shape, **options))


def count_network_gmacs(network: nn.Module, shape: Sequence[int],
                        forward: str | Callable | None = None, in_channels: int | None = None
                        ) -> float:
    """Multiply-adds in 1e9 of one image at the current sizes, rounding included.

    Args:
        network: a model of any class, stock or with DynOPools; backbone and heads count, if
            possible without postprocessing. If the whole does not run, its backbone alone counts,
            with a warning.
        shape: `(H, W)` of the image in pixels.
        forward: `forward(network, image)` runs a network that takes other inputs; a function, its
            dotted path, or its name in mmengine's `FUNCTIONS`.
        in_channels: of the image; default: as the data preprocessor or the first convolution tells.

    Raises:
        ValueError: an option is malformed, or the network does not run.

    Examples:
        >>> from mmengine.config import Config
        >>> from mmseg_dynopool import config_path
        >>> from mmseg_dynopool.checkpoints import load_network
        >>> from mmseg_dynopool.models import count_network_gmacs
        >>> cfg = Config.fromfile(config_path('demo_dynopool_mni152.py'))
        >>> round(count_network_gmacs(load_network(cfg, None), (160, 160)), 2)
        0.46
    """
    return network_counter(network, shape, forward=forward, in_channels=in_channels).gmacs()


@contextmanager
def watch_shapes(model: nn.Module) -> Iterator[Counter]:
    """Count the image sizes ``(H, W)`` that pass through a network's backbone while it runs.

    The network may be wrapped (DDP, test-time augmentation).
    """
    seen: Counter = Counter()
    network = unwrap(model)

    def note(module: nn.Module, args: tuple, kwargs: dict) -> None:
        images = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.dim() > 2]
        seen.update(tuple(image.shape[-2:]) for image in images[:1])

    watched = getattr(network, 'backbone', network)
    handle = watched.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def describe_gmacs(model: nn.Module, shapes: Counter, **options: Any) -> str:
    """The GMACs of one image at the most frequent of ``shapes``, or why they are unknown."""
    parts = []
    for shape, _ in shapes.most_common(_SHOWN):
        try:
            gmacs = count_network_gmacs(unwrap(model), shape, **options)
        except ValueError as error:  # of a network that runs in a way of its own
            return f'unknown ({error})'
        parts.append(f'{gmacs:.4g} GMACs at {shape[0]} x {shape[1]}')
    more = f' and {len(shapes) - _SHOWN} more shapes' if len(shapes) > _SHOWN else ''
    return ', '.join(parts) + more
