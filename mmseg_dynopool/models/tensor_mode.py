"""How the cost of an mmseg segmentor is counted."""

from collections.abc import Sequence

from mmseg.models import BaseSegmentor
from torch import Tensor

from mmseg_dynopool.complexity import count_gmacs
from mmseg_dynopool.layers import input_channels


def tensor_mode(segmentor: BaseSegmentor, image: Tensor):
    """Run backbone and heads without post-processing; the ``forward`` of counts and probes."""
    return segmentor._forward(image)


def count_segmentor_gmacs(segmentor: BaseSegmentor, shape: Sequence[int]) -> float:
    """GMACs of one image of ``shape = (H, W)`` at the sizes of the moment, rounding included."""
    return count_gmacs(segmentor, shape, input_channels(segmentor), tensor_mode)
