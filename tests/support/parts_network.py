"""A segmentor of a user's own class, with parts of other names than ``backbone``."""

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from support.toys import hrnet_extra

RESNET = dict(type='ResNet', depth=18, base_channels=4)
HRNET = dict(type='DynOPoolHRNet', extra=hrnet_extra((4, 8), modules=(1, 1, 0, 0)))


class PartsSegmentor(BaseModel):
    """It takes neither ``pretrained`` nor ``train_cfg``."""

    def __init__(self, image_encoder, others=(), data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.image_encoder = MODELS.build(image_encoder)
        self.others = nn.ModuleList(map(MODELS.build, others))
        self.head = nn.LazyConv2d(2, 1)
        self.eval()
        self(torch.zeros(1, 3, 64, 64))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        features = [part(inputs)[0] for part in (self.image_encoder, *self.others)]
        size = features[0].shape[-2:]
        return self.head(torch.cat([F.interpolate(y, size) for y in features], 1))


class RenamesItsPart(PartsSegmentor):

    def __init__(self, image_encoder):
        super().__init__(image_encoder)
        self.encoder = self.image_encoder
        del self.image_encoder


class LearnsAlways(PartsSegmentor):
    """Whatever its config says."""

    def __init__(self, image_encoder):
        super().__init__(dict(image_encoder, dynopool=dict(image_encoder['dynopool'], learn=True)))


def parts_config(kind=PartsSegmentor, **parts):
    """A config with a converted ResNet, and further ``parts``."""
    init_default_scope('mmseg')
    encoder = dict(type='DynOPoolBackbone', backbone=RESNET, dynopool=dict(rule='before'))
    return Config(dict(model=dict(type=f'{kind.__module__}.{kind.__name__}', image_encoder=encoder,
                                  **parts)))
