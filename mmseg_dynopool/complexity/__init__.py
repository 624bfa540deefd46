"""Multiply-adds of any network as a differentiable function of its alphas."""

from .count import Call, GMACsCounter, check_shape, count_gmacs
from .meta_copy import to_fixed_copy
from .model import ComplexityModel, LayerCost, ScaleTerms, probe_complexity
from .summary import summarize

__all__ = [
    'Call', 'ComplexityModel', 'GMACsCounter', 'LayerCost', 'ScaleTerms', 'check_shape',
    'count_gmacs', 'probe_complexity', 'summarize', 'to_fixed_copy'
]
