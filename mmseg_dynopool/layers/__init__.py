"""DynOPool, and Shape Adaptor as its baseline, as modules; needs torch alone."""

from .conv import DynOPoolConv2d
from .dynopool import DynOPool, FixedDynOPool
from .find import freeze_pools, learned_pools
from .pool import ResizingPool
from .shape_adaptor import ShapeAdaptor

__all__ = [
    'DynOPool', 'DynOPoolConv2d', 'FixedDynOPool', 'ResizingPool', 'ShapeAdaptor', 'freeze_pools',
    'learned_pools'
]
