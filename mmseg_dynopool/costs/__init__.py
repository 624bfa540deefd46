"""What a network costs, in multiply-adds or milliseconds, as a function of its alphas."""

from .budget import Budget
from .cost import Cost, Posynomial
from .count import GMACsCounter, count_gmacs
from .latency_fit import fit_latency, measure_latency
from .latency_model import LatencyModel
from .milliseconds import LatencyBudget, LatencyCost
from .multiply_adds import ComplexityModel, GMACsBudget, LayerCost, probe_complexity
from .timing import device_name, time_alternately

__all__ = [
    'Budget', 'ComplexityModel', 'Cost', 'GMACsBudget', 'GMACsCounter', 'LatencyBudget',
    'LatencyCost', 'LatencyModel', 'LayerCost', 'Posynomial', 'count_gmacs', 'device_name',
    'fit_latency', 'measure_latency', 'probe_complexity', 'time_alternately'
]
