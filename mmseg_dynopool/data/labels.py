"""Label values that are no class: named before the loss indexes with them.

On a GPU such a value ends the process by a device-side assertion that names neither value nor
file; in an evaluation mmseg leaves it out of the metric without a word.
"""

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

_SHOWN = 5


class LabelRange(NamedTuple):
    """Labels from 0 to ``classes - 1`` are classes, ``ignored`` counts nowhere."""

    classes: int
    ignored: int


def label_range(model: dict | nn.Module) -> LabelRange | None:
    """What the (last) decode head of a segmentor or its config allows; None without such a head."""
    head = _get(model, 'decode_head')
    if isinstance(head, (list, tuple)) or type(head).__name__ == 'ModuleList':
        head = head[-1]
    classes = _get(head, 'num_classes')
    if not isinstance(classes, int):
        return None
    # A head with one channel tells 0 from 1.
    return LabelRange(max(classes, 2), _get(head, 'ignore_index', 255))


def stray_labels(label: np.ndarray | Tensor, allowed: LabelRange | None) -> list[int]:
    """Values of a label map (array or tensor on the CPU) that are no class and not ignored."""
    if allowed is None:
        return []
    label = np.asarray(label)
    # Seen as unsigned, a negative value is a large one: one pass finds both.
    unsigned = label.view(label.dtype.str.replace('i', 'u'))
    strays = label[unsigned >= allowed.classes]
    return np.unique(strays[strays != allowed.ignored]).tolist()


def describe_strays(path: str, strays: list[int], allowed: LabelRange) -> str:
    """What is wrong with the label map at ``path`` and how to mend it."""
    more = ', ...' if len(strays) > _SHOWN else ''
    return (f'the label map {path} holds {", ".join(map(str, strays[:_SHOWN]))}{more}, but '
            f'decode_head.num_classes={allowed.classes} allows 0 to {allowed.classes - 1}, and '
            f'{allowed.ignored} for pixels to ignore. Convert the label maps (see docs/data.md), '
            'or set num_classes, or reduce_zero_label=True where 0 stands for no class')


def _get(owner: object, name: str, default: object = None) -> Any:
    """An entry of a config or an attribute of a module."""
    return owner.get(name, default) if isinstance(owner, dict) else getattr(owner, name, default)
