"""DynOPool as modules; needs torch alone."""

from .conv import DynOPoolConv2d
from .dynopool import DynOPool
from .find import all_pools, input_channels, learned_pools, short_name
from .fixed import FixedDynOPool

__all__ = [
    'DynOPool', 'DynOPoolConv2d', 'FixedDynOPool', 'all_pools', 'input_channels',
    'learned_pools', 'short_name'
]
