"""Networks that several test modules look at."""

import torch
from mmseg.registry import MODELS
from torch import nn

from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d, learned_pools
from support.toys import fcn_head, segmentor_config, w48_extra


def learned(seed=0, highest=4.9, **options):
    """A network whose alphas are where training could have left them, some beyond a bound."""
    torch.manual_seed(seed)
    model = MODELS.build(segmentor_config(**options))
    with torch.no_grad():
        for pool in learned_pools(model).values():
            pool.alpha.copy_(0.9 + (highest - 0.9) * torch.rand(2))
        for norm in model.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(norm.weight)
                torch.nn.init.normal_(norm.running_mean)
    model.eval()
    return model


def w48_fcn(stem=False):
    channels = (48, 96, 192, 384)
    return dict(
        type='DynOPoolEncoderDecoder', data_preprocessor=dict(type='SegDataPreProcessor'),
        backbone=dict(type='DynOPoolHRNet', extra=w48_extra(), dynopool=dict(stem=stem)),
        decode_head=dict(fcn_head(channels, 19), channels=720), train_cfg={},
        test_cfg=dict(mode='whole'))


class Pooled(nn.Module):
    """A DynOPool with a convolution behind it, which holds it unregistered."""

    def __init__(self, scale, kernel=3, pool=DynOPool, **options):
        super().__init__()
        self.pool = pool(scale)
        self.conv = DynOPoolConv2d(self.pool, 3, 4, kernel, shared=True,
                                   padding=kernel // 2, **options)

    def forward(self, x):
        return self.conv(x)
