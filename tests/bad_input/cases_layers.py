"""Calls from a user's own network: the operator, the layers, the backbone."""

import torch
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.costs import count_gmacs
from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d, ImageResize, ShapeAdaptor
from mmseg_dynopool.ops import dynopool2d

IMAGE = torch.rand(1, 3, 8, 8)
ALPHA = torch.tensor([2.0, 2.0])


def input_3d(bench):
    return bench.call(dynopool2d, IMAGE[0], ALPHA)


def input_5d(bench):
    return bench.call(dynopool2d, IMAGE[:, :, None].expand(-1, -1, 8, -1, -1), ALPHA)


def input_integers(bench):
    return bench.call(dynopool2d, IMAGE.to(torch.uint8), ALPHA)


def input_empty_side(bench):
    return bench.call(dynopool2d, IMAGE[..., :0], ALPHA)


def input_empty_batch(bench):
    return f'shape {tuple(dynopool2d(IMAGE[:0], ALPHA).shape)}'


def input_array(bench):
    return bench.call(dynopool2d, IMAGE.numpy(), ALPHA)


def input_of_the_backbone_3d(bench):
    return bench.call(bench.project.model.backbone, IMAGE[0])


def image_smaller_than_a_step(bench):
    return f'shape {tuple(ImageResize(0.5, multiple=4)(IMAGE[..., :3, :5]).shape)}'


def input_3d_of_an_image_level(bench):
    net = convert_dynopool(nn.Conv2d(3, 4, 3, 2, 1), levels='image')
    return bench.call(net, IMAGE[0])


def alpha_shape(bench):
    return bench.call(dynopool2d, IMAGE, torch.ones(1, 2))


def alpha_number(bench):
    return bench.call(dynopool2d, IMAGE, 2.0)


def alpha_nan(bench):
    return bench.call(dynopool2d, IMAGE, ALPHA * float('nan'))


def alpha_negative(bench):
    return bench.call(dynopool2d, IMAGE, -ALPHA)


def alpha_nan_in_a_layer(bench):
    pool = DynOPool()
    nn.init.constant_(pool.alpha, float('nan'))
    return bench.call(pool, IMAGE)


def alpha_nan_in_the_backbone(bench):
    backbone = bench.project.ready_model().backbone
    nn.init.constant_(backbone.dynopools['stream2'].alpha, float('nan'))
    return bench.call(backbone, IMAGE)


def output_size_zero(bench):
    return bench.call(dynopool2d, IMAGE, ALPHA, output_size=(0, 4))


def reduce_unknown(bench):
    return bench.call(dynopool2d, IMAGE, ALPHA, reduce='average')


def reduce_unknown_of_a_layer(bench):
    return bench.call(ShapeAdaptor(), IMAGE, reduce='average')


def conv_stride(bench):
    return bench.call(DynOPoolConv2d, DynOPool(), 3, 4, 3, stride=2)


def conv_without_pool(bench):
    return bench.call(DynOPoolConv2d, nn.MaxPool2d(2), 3, 4, 3)


def count_shape_word(bench):
    return bench.call(count_gmacs, bench.project.model, '512x1024')
