"""Multiply-adds of any network as a differentiable function of its alphas."""

from .count import Call, count_calls
from .model import ComplexityModel, LayerCost, probe_complexity

__all__ = ['Call', 'ComplexityModel', 'LayerCost', 'count_calls', 'probe_complexity']
