"""What mmseg's ``MODELS`` registry gets."""

from .dynopool_hrnet import DynOPoolHRNet
from .segmentors import DynOPoolCascadeEncoderDecoder, DynOPoolEncoderDecoder

__all__ = ['DynOPoolCascadeEncoderDecoder', 'DynOPoolEncoderDecoder', 'DynOPoolHRNet']
