"""A VGG that trains in a minute on one core, for the evidence."""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class NarrowVGG(BaseModule):
    """Stages of 3 x 3 convolutions with max pooling between them.

    Args:
        in_channels: of the image.
        stages: channels of each stage's convolutions.
    """

    def __init__(self, in_channels: int = 1,
                 stages: Sequence[Sequence[int]] = ((8, 8), (16, 16), (32, 32))):
        super().__init__(init_cfg=[dict(type='Kaiming', layer='Conv2d'),
                                   dict(type='Constant', val=1, layer='_BatchNorm')])
        layers: list[nn.Module] = []
        for channels in stages:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for width in channels:
                layers.append(ConvModule(in_channels, width, 3, padding=1,
                                         norm_cfg=dict(type='BN'), bias=False))
                in_channels = width
        self.features = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """The last stage's feature map."""
        return self.features(image),
