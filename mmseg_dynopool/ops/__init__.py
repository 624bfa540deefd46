"""The mathematics of DynOPool on plain tensors; needs torch alone."""

from .anchor import ANCHORS, check_anchor, query_levers
from .dynopool2d import check_input, dynopool2d
from .size import pooled_size

__all__ = [
    'ANCHORS', 'check_anchor', 'check_input', 'dynopool2d', 'pooled_size', 'query_levers'
]
