"""The mathematics of DynOPool and Shape Adaptor on plain tensors; needs torch alone."""

from .pooling import dynopool2d
from .shape_adaptor import shape_adaptor2d
from .size import pooled_size

__all__ = ['dynopool2d', 'pooled_size', 'shape_adaptor2d']
