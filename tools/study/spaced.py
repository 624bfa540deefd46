"""Networks whose axes are strided apart by hand.

nnU-Net's rule: an axis is pooled while its spacing is less than twice the finest (Isensee et al.,
Nature Methods 2021). Of slices of 5 mm with pixels of 1 mm the first two levels pool the width
alone, of 3 mm the first one. Networks for speech stride frequencies more than time, by (2, 1), as
in BC-ResNet (Kim et al., Interspeech 2021).
"""

from mmseg.models import HRNet, UNet
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class SpacedHRNet(HRNet):
    """The two layers of the stem have the strides ``stem_strides``, height and width."""

    def __init__(self, stem_strides, **kwargs):
        super().__init__(**kwargs)
        self.conv1.stride, self.conv2.stride = map(tuple, stem_strides)


@MODELS.register_module()
class SpacedUNet(UNet):
    """The first two levels pool the width alone, and so the last two enlarge it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        for level in range(2):
            pool = self.encoder[level + 1][0]
            pool.kernel_size = pool.stride = (1, 2)
            self.decoder[level].upsample.interp_upsample[0] = nn.Upsample(
                scale_factor=(1., 2.), mode='bilinear', align_corners=False)
