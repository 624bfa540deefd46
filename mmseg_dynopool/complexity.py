"""Old path, for one version: see [moving from 0.3](../docs/from_0_3.md)."""

from mmseg_dynopool.costs import (
    ComplexityModel,
    GMACsCounter,
    LayerCost,
    Posynomial,
    count_gmacs,
    probe_complexity,
)

ScaleTerms = Posynomial

__all__ = [
    'ComplexityModel', 'GMACsCounter', 'LayerCost', 'ScaleTerms', 'count_gmacs', 'probe_complexity'
]
