"""The mathematics of DynOPool and Shape Adaptor on plain tensors; needs torch alone."""

from .image_resize import image_resize2d
from .pooling import dynopool2d
from .shape_adaptor import shape_adaptor2d
from .size import aligned_size, pooled_size

__all__ = ['aligned_size', 'dynopool2d', 'image_resize2d', 'pooled_size', 'shape_adaptor2d']
