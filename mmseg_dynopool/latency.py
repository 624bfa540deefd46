"""Old path, for one version: see [moving from 0.3](../docs/from_0_3.md)."""

from mmseg_dynopool.costs import (
    LatencyModel,
    device_name,
    fit_latency,
    measure_latency,
    time_alternately,
)

__all__ = ['LatencyModel', 'device_name', 'fit_latency', 'measure_latency', 'time_alternately']
