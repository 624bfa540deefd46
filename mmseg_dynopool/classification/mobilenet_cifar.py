"""MobileNetV2 for images of 32 x 32."""

from typing import Any

from mmpretrain.models import MobileNetV2
from mmpretrain.registry import MODELS


@MODELS.register_module()
class MobileNetV2CIFAR(MobileNetV2):
    """mmpretrain's ``MobileNetV2`` without its first two strides, as is usual for CIFAR.

    What remains is a total stride of 8. The arguments are those of ``MobileNetV2``.
    """

    arch_settings = [[expansion, channels, blocks, 1 if channels == 24 else stride]
                     for expansion, channels, blocks, stride in MobileNetV2.arch_settings]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.conv1.conv.stride = (1, 1)
