"""How long a network takes on a device, as a differentiable function of its alphas."""

from .fit import fit_latency, measure_again, measure_latency, relative_times
from .model import LatencyModel, Scales
from .timing import device_name, time_alternately

__all__ = [
    'LatencyModel', 'Scales', 'device_name', 'fit_latency', 'measure_again', 'measure_latency',
    'relative_times', 'time_alternately'
]
