"""Multiply-adds of any network as a differentiable function of its alphas."""

from .count import Call, count_calls, count_gmacs
from .model import ComplexityModel, LayerCost, probe_complexity

__all__ = [
    'Call', 'ComplexityModel', 'LayerCost', 'count_calls', 'count_gmacs', 'probe_complexity'
]
