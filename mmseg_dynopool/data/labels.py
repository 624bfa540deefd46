"""Label values that are not a class: named before the loss indexes with them.

On a GPU such a value ends the process by a device-side assertion that names neither value nor
file; in an evaluation mmseg silently leaves it out of the metric.
"""

from typing import Any, NamedTuple

import numpy as np
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmseg_dynopool.config import OPENMMLAB, find_type

_SHOWN = 5


class LabelRange(NamedTuple):
    """Labels from 0 to ``classes - 1`` are classes, ``ignored`` counts nowhere.

    ``is_index``: the loss fails on others.
    """

    classes: int
    ignored: int
    is_index: bool = True

    def problem(self, label: np.ndarray | Tensor, path: object) -> str:
        """What is wrong with a label map, on the CPU, and how to mend it; empty if nothing is."""
        label = np.asarray(label)
        # Seen as unsigned, a negative value is a large one: one pass finds both.
        unsigned = label.view(label.dtype.str.replace('i', 'u'))
        strays = label[unsigned >= self.classes]
        strays = np.unique(strays[strays != self.ignored]).tolist()
        if not strays:
            return ''
        more = ', ...' if len(strays) > _SHOWN else ''
        return (f'the label map {path} holds {", ".join(map(str, strays[:_SHOWN]))}{more}, but '
                f'decode_head.num_classes={self.classes} allows 0 to {self.classes - 1}, and '
                f'{self.ignored} for pixels to ignore. Convert the label maps (see docs/data.md), '
                'or set num_classes, or reduce_zero_label=True where 0 stands for no class')


def label_range(model: dict | nn.Module) -> LabelRange | None:
    """What the (last) decode head of a segmentor or its config allows.

    None without such a head, and if a user's own code stands between labels and loss: it may take
    others.
    """
    head = _get(model, 'decode_head')
    if isinstance(head, (list, tuple, nn.ModuleList)) and head:
        head = head[-1]
    classes = _get(head, 'num_classes')
    between = [getattr(find_type(MODELS, owner), name, None) for owner, name in (
        (model, 'loss'), (head, 'loss'), (head, 'loss_by_feat'),
        (_get(model, 'data_preprocessor'), 'forward'))]
    if not isinstance(classes, int) or not all(
            function is None or function.__module__.startswith(OPENMMLAB) for function in between):
        return None
    losses = _get(head, 'loss_decode')  # mmseg's default is the cross entropy
    kinds = [find_type(MODELS, loss) for loss in (
        losses if isinstance(losses, (list, tuple, nn.ModuleList)) else [losses])]
    is_index = losses is None or any(
        isinstance(kind, type) and kind.__module__.startswith(OPENMMLAB) and
        kind.__name__ in ('CrossEntropyLoss', 'OhemCrossEntropy') for kind in kinds)
    # A head with one channel tells 0 from 1.
    return LabelRange(max(classes, 2), _get(head, 'ignore_index', 255), is_index)


def _get(owner: object, name: str, default: object = None) -> Any:
    """An entry of a config or an attribute of a module."""
    return owner.get(name, default) if isinstance(owner, dict) else getattr(owner, name, default)
