"""Name the cost of the shapes that a network really saw."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from mmseg_dynopool.layers import unwrap

from .tensor_mode import count_segmentor_gmacs

_SHOWN = 5


@contextmanager
def watch_shapes(model: nn.Module) -> Iterator[Counter]:
    """Count the image sizes ``(H, W)`` that pass through a segmentor's backbone.

    Args:
        model: a segmentor, possibly wrapped (DDP, test-time augmentation).

    Yields:
        The counter; it fills while the block runs.
    """
    seen: Counter = Counter()
    handle = unwrap(model).backbone.register_forward_pre_hook(
        lambda module, args: seen.update([tuple(args[0].shape[-2:])]))
    try:
        yield seen
    finally:
        handle.remove()


def describe_gmacs(model: nn.Module, shapes: Counter) -> str:
    """The counted GMACs of one image at the most frequent of ``shapes``, learned sizes included."""
    network = unwrap(model)
    parts = []
    for shape, _ in shapes.most_common(_SHOWN):
        gmacs = count_segmentor_gmacs(network, shape)
        parts.append(f'{gmacs:.4g} GMACs at {shape[0]} x {shape[1]}')
    more = f' and {len(shapes) - _SHOWN} more shapes' if len(shapes) > _SHOWN else ''
    return ', '.join(parts) + more
