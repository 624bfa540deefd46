"""MobileNetV2 for images of 32 x 32."""

from typing import Any

from mmengine.registry import MODELS
from mmpretrain.models import MobileNetV2


@MODELS.register_module()
class MobileNetV2CIFAR(MobileNetV2):
    """mmpretrain's ``MobileNetV2`` without its first two strides, as is usual for CIFAR.

    What remains is a total stride of 8.

    Args:
        *args: those of mmpretrain's `MobileNetV2`.
        **kwargs: likewise, by name.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.classification import MobileNetV2CIFAR
        >>> features, = MobileNetV2CIFAR(widen_factor=0.25)(torch.rand(1, 3, 32, 32))
        >>> features.shape
        torch.Size([1, 1280, 4, 4])
    """

    arch_settings = [[expansion, channels, blocks, 1 if channels == 24 else stride]
                     for expansion, channels, blocks, stride in MobileNetV2.arch_settings]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.conv1.conv.stride = (1, 1)
