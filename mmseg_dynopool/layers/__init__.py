"""DynOPool, and Shape Adaptor as its baseline, as modules; needs torch alone."""

from importlib import import_module
from typing import Any

from .conv import DynOPoolConv2d
from .dynopool import DynOPool, FixedDynOPool
from .find import freeze_pools, learned_pools
from .image import FixedImageResize, ImageResize
from .pool import ResizingPool
from .shape_adaptor import ShapeAdaptor

__all__ = [
    'DynOPool', 'DynOPoolConv2d', 'FixedDynOPool', 'FixedImageResize', 'ImageResize',
    'ResizingPool', 'ShapeAdaptor', 'freeze_pools', 'learned_pools'
]


def __getattr__(name: str) -> Any:
    if name == 'measure_alpha_gradient':  # its place in 0.3, kept for one version
        return import_module('mmseg_dynopool.learning.two_passes').measure_alpha_gradient
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
