"""DynOPool as modules; needs torch alone."""

from .conv import DynOPoolConv2d
from .dynopool import DynOPool

__all__ = ['DynOPool', 'DynOPoolConv2d']
