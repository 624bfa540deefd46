"""What mmseg's ``MODELS`` registry gets."""

from .dynopool_hrnet import DynOPoolHRNet
from .segmentors import DynOPoolCascadeEncoderDecoder, DynOPoolEncoderDecoder
from .type_name import type_name

__all__ = ['DynOPoolCascadeEncoderDecoder', 'DynOPoolEncoderDecoder', 'DynOPoolHRNet', 'type_name']
