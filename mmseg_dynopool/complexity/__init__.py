"""Multiply-adds of any network as a differentiable function of its alphas."""

from .count import Call, GMACsCounter, check_shape, count_gmacs
from .model import ComplexityModel, LayerCost, probe_complexity
from .summary import summarize

__all__ = [
    'Call', 'ComplexityModel', 'GMACsCounter', 'LayerCost', 'check_shape', 'count_gmacs',
    'probe_complexity', 'summarize'
]
