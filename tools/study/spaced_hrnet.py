"""An HRNet for images whose pixels are higher than they are wide."""

from mmseg.models import HRNet
from mmseg.registry import MODELS


@MODELS.register_module()
class SpacedHRNet(HRNet):
    """The stem pools the width alone.

    nnU-Net's rule: an axis is pooled while its spacing is less than twice the finest (Isensee et
    al., Nature Methods 2021). Of slices of 5 mm with pixels of 1 mm these are the first two levels.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv1.stride = self.conv2.stride = (1, 2)
