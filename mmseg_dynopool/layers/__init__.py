"""DynOPool, and Shape Adaptor as its baseline, as modules; needs torch alone."""

from .conv import DynOPoolConv2d
from .dynopool import DynOPool
from .find import all_pools, input_channels, learned_pools, short_name, unwrap
from .fixed import FixedDynOPool
from .learned_pool import LearnedPool
from .shape_adaptor import ShapeAdaptor

__all__ = [
    'DynOPool', 'DynOPoolConv2d', 'FixedDynOPool', 'LearnedPool', 'ShapeAdaptor', 'all_pools',
    'input_channels', 'learned_pools', 'short_name', 'unwrap'
]
