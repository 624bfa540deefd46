"""The mathematics of DynOPool and Shape Adaptor on plain tensors; needs torch alone."""

from .anchor import ANCHORS, check_anchor, query_levers
from .dynopool2d import check_input, dynopool2d
from .queries import read_queries
from .reduce import REDUCTIONS, check_reduce
from .shape_adaptor import (
    POOLINGS,
    check_pooling,
    check_ratios,
    shape_adaptor2d,
    shape_adaptor_alpha,
)
from .size import pooled_size

__all__ = [
    'ANCHORS', 'POOLINGS', 'REDUCTIONS', 'check_anchor', 'check_input', 'check_pooling',
    'check_ratios', 'check_reduce', 'dynopool2d', 'pooled_size', 'query_levers', 'read_queries',
    'shape_adaptor2d', 'shape_adaptor_alpha'
]
