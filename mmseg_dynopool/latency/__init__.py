"""How long a network takes on a device, as a differentiable function of its alphas."""

from .fit import fit_latency, measure_latency
from .model import LatencyModel
from .timing import device_name, time_alternately

__all__ = ['LatencyModel', 'device_name', 'fit_latency', 'measure_latency', 'time_alternately']
