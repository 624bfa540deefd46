"""What mmseg's ``MODELS`` registry gets."""

from .converted import DynOPoolBackbone
from .cost import (
    count_network_gmacs,
    describe_gmacs,
    forward_without_postprocessing,
    takes,
    watch_shapes,
)
from .dynopool_hrnet import DynOPoolHRNet
from .segmentors import DynOPoolCascadeEncoderDecoder, DynOPoolEncoderDecoder

__all__ = [
    'DynOPoolBackbone', 'DynOPoolCascadeEncoderDecoder', 'DynOPoolEncoderDecoder',
    'DynOPoolHRNet', 'count_network_gmacs', 'describe_gmacs', 'forward_without_postprocessing',
    'takes', 'watch_shapes'
]
