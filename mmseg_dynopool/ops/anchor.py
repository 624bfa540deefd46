"""Where the resampling grid is anchored: the reference point of alpha's gradient.

Along one axis, query ``j`` lies at ``k * cell`` with ``k = (j + 0.5) / 2`` (in output cells) and
``cell = size_in / size_out``. Written as ``(k - k0) * cell + stop_gradient(k0 * cell)`` it is the
same point for every ``k0``, but its derivative by ``cell`` is ``k - k0``, here called the lever.
"""

import torch
from torch import Tensor

ANCHORS = ('local', 'center', 'corner')


def check_anchor(anchor: str, window: float) -> None:
    """Check the options ``anchor`` and ``window``.

    Raises:
        ValueError: ``anchor`` is unknown or ``window`` is below 1.
    """
    if anchor not in (*ANCHORS, 'none'):
        raise ValueError(f"anchor must be one of {(*ANCHORS, 'none')}, got {anchor!r}")
    if isinstance(window, bool) or not isinstance(window, (int, float)) or not window >= 1:
        raise ValueError(f'window must be a number of output cells >= 1, got {window!r}')


def query_levers(size_out: int, anchor: str, window: float,
                 device: torch.device | None = None) -> Tensor:
    """Lever ``k - k0`` of each of the ``2 * size_out`` queries of an axis.

    Args:
        size_out: number of output cells.
        anchor: ``'corner'`` puts ``k0`` at 0 (the formulas read literally), ``'center'`` in the
            middle of the axis, ``'local'`` in the middle of the query's own window, where the
            axis is split into ``max(1, round(size_out / window))`` equal windows.
        window: aimed length of a window in output cells; only ``'local'`` uses it.
        device: device of the result.

    Returns:
        float64 tensor of shape ``(2 * size_out,)``, in output cells.
    """
    j = torch.arange(2 * size_out, device=device)
    k = (j.double() + 0.5) / 2
    if anchor == 'corner':
        return k
    if anchor == 'center':
        return k - size_out / 2
    windows = max(1, round(size_out / window))
    # floor(k * windows / size_out) in integers: exact where a query lies on a window's edge.
    own = torch.div((2 * j + 1) * windows, 4 * size_out, rounding_mode='floor')
    return k - (own.double() + 0.5) * size_out / windows
