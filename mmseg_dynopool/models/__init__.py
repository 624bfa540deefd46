"""What mmseg's ``MODELS`` registry gets."""

import mmseg_dynopool.needs_stack  # noqa: F401

from .converted import DynOPoolBackbone
from .cost import count_network_gmacs
from .dynopool_hrnet import DynOPoolHRNet
from .segmentors import DynOPoolCascadeEncoderDecoder, DynOPoolEncoderDecoder

__all__ = [
    'DynOPoolBackbone', 'DynOPoolCascadeEncoderDecoder', 'DynOPoolEncoderDecoder',
    'DynOPoolHRNet', 'count_network_gmacs'
]
