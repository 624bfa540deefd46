"""Multiply-adds of any network as a differentiable function of its alphas, and a budget."""

from .budget import GMACsBudget, StepSize, step_size
from .count import Call, check_shape, count_calls, count_gmacs
from .model import ComplexityModel, LayerCost, probe_complexity
from .summary import summarize

__all__ = [
    'Call', 'ComplexityModel', 'GMACsBudget', 'LayerCost', 'StepSize', 'check_shape',
    'count_calls', 'count_gmacs', 'probe_complexity', 'step_size', 'summarize'
]
