"""Multiply-adds of any network as a differentiable function of its alphas."""

from .count import GMACsCounter, count_gmacs
from .model import ComplexityModel, LayerCost, ScaleTerms, probe_complexity

__all__ = [
    'ComplexityModel', 'GMACsCounter', 'LayerCost', 'ScaleTerms', 'count_gmacs', 'probe_complexity'
]
