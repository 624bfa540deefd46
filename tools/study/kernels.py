"""Ways to resize an image that were tried beside the one that `ImageResize` has."""

from functools import partial

import torch.nn.functional as F
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmseg_dynopool.layers.image import image_levels
from mmseg_dynopool.ops import dynopool2d


def _bilinear(image, size):
    return F.interpolate(image, size, mode='bilinear')


def _antialiased(image, size):
    return F.interpolate(image, size, mode='bilinear', antialias=True)


def _queries(image, size, reduce):
    alpha = [n / m for n, m in zip(image.shape[-2:], size)]
    return dynopool2d(image, alpha, output_size=size, reduce=reduce)


KERNELS = dict(antialiased=_antialiased, bilinear=_bilinear,
               area=F.adaptive_avg_pool2d, mean=partial(_queries, reduce='mean'),
               maximum=partial(_queries, reduce='max'))


@HOOKS.register_module()
class KernelHook(Hook):
    """Gives a network's image level another kernel, also for its evaluation."""

    def __init__(self, kernel: str):
        self.kernel = KERNELS[kernel]

    def before_run(self, runner):
        level, = image_levels(runner.model).values()
        level.forward = lambda image, output_size=None, reduce='max': self.kernel(
            image, tuple(level.output_size(image.shape[-2:])))
