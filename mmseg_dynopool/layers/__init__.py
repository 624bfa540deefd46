"""DynOPool, and Shape Adaptor as its baseline, as modules; needs torch alone."""

from .conv import DynOPoolConv2d
from .dynopool import DynOPool, FixedDynOPool
from .find import (
    all_pools,
    by_short_name,
    copy_replacing,
    freeze_pools,
    input_channels,
    learned_pools,
    short_names,
    unwrap,
)
from .measured_gradient import measure_alpha_gradient
from .pool import ResizingPool, as_dynamic_shapes, read_alphas
from .shape_adaptor import ShapeAdaptor

__all__ = [
    'DynOPool', 'DynOPoolConv2d', 'FixedDynOPool', 'ResizingPool', 'ShapeAdaptor', 'all_pools',
    'as_dynamic_shapes', 'by_short_name', 'copy_replacing', 'freeze_pools', 'input_channels',
    'learned_pools', 'measure_alpha_gradient', 'read_alphas', 'short_names', 'unwrap'
]
