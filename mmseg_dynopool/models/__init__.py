"""What mmseg's ``MODELS`` registry gets."""

from .dynopool_hrnet import DynOPoolHRNet
from .segmentors import DynOPoolCascadeEncoderDecoder, DynOPoolEncoderDecoder
from .tensor_mode import count_segmentor_gmacs, tensor_mode

__all__ = [
    'DynOPoolCascadeEncoderDecoder', 'DynOPoolEncoderDecoder', 'DynOPoolHRNet',
    'count_segmentor_gmacs', 'tensor_mode'
]
