"""Conversion of a user's own network: options, networks that cannot be converted."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool, plan_conversion


def _net(padding=1):
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, padding))


def _convert(bench, net=None, **options):
    """An attempt that must leave the network as it was."""
    net = _net() if net is None else net
    before = [(type(m), getattr(m, 'stride', None), len(m._modules)) for m in net.modules()]
    seen = bench.call(convert_dynopool, net, **options)
    assert before == [(type(m), getattr(m, 'stride', None), len(m._modules))
                      for m in net.modules()]
    return seen


class _PoolingNetwork(nn.Module):

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return F.max_pool2d(self.conv(x), 2)


class _Gate(nn.Module):

    def forward(self, x):
        return x * (2 if x.mean().item() > 0 else 1)


class _TwoImages(_PoolingNetwork):

    def forward(self, x, y):
        return self.conv(x) + self.conv(y)


class _Positions(_PoolingNetwork):

    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1, 3, 224, 224))

    def forward(self, x):
        return self.conv(x + self.positions)


def convert_no_module(bench):
    return bench.call(convert_dynopool, 5)


def convert_rule_unknown(bench):
    return _convert(bench, rule='instead')


def convert_type_unknown(bench):
    return _convert(bench, type='MaxPool')


def convert_merge_word(bench):
    return _convert(bench, merge='yes')


def convert_learn_word(bench):
    return _convert(bench, learn='no')


def convert_shape_adaptor_that_does_not_learn(bench):
    return _convert(bench, type='ShapeAdaptor', learn=False)


def convert_skip_matches_nothing(bench):
    return _convert(bench, skip='layer9.*')


def convert_skip_number(bench):
    return _convert(bench, skip=2)


def convert_without_strides(bench):
    return _convert(bench, nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)))


def convert_all_skipped(bench):
    return _convert(bench, skip=['0', '2'])


def convert_twice(bench):
    return _convert(bench, convert_dynopool(_net()))


def convert_on_several_devices(bench):
    net = _net()
    net[2].to('meta')
    return _convert(bench, net)


def convert_in_channels_wrong(bench):
    return _convert(bench, in_channels=5)


def convert_in_channels_zero(bench):
    return _convert(bench, in_channels=0)


def convert_in_channels_word(bench):
    return _convert(bench, in_channels='RGB')


def convert_without_a_convolution(bench):
    return _convert(bench, nn.Sequential(nn.MaxPool2d(2)))


def convert_volumes(bench):
    return _convert(bench, nn.Sequential(nn.Conv3d(3, 4, 3, 2, 1), nn.ReLU()), in_channels=3)


def convert_forward_of_values(bench):
    return _convert(bench, nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), _Gate()))


def convert_forward_of_two_images(bench):
    return _convert(bench, _TwoImages())


def convert_forward_number(bench):
    return _convert(bench, forward=3)


def convert_functional_pooling(bench):
    return _convert(bench, _PoolingNetwork())


def convert_unpadded(bench):
    return _convert(bench, _net(padding=0))


def convert_scale_of_unknown_level(bench):
    return _convert(bench, scale=dict(stride3=0.5))


def convert_scale_too_high(bench):
    return _convert(bench, scale=1.5)


def convert_scale_negative(bench):
    return _convert(bench, scale=-1)


def convert_scale_nan(bench):
    return _convert(bench, scale=float('nan'))


def convert_scale_word(bench):
    return _convert(bench, scale='half')


def convert_scale_of_three(bench):
    return _convert(bench, scale=dict(stride4=(0.5, 0.5, 0.5)))


def convert_bounds_turned(bench):
    return _convert(bench, bounds=(1, 0.1))


def convert_bounds_empty(bench):
    return _convert(bench, bounds=())


def convert_bounds_exclude_the_stock_scale(bench):
    return _convert(bench, bounds=(0.6, 1))


def convert_anchor_unknown(bench):
    return _convert(bench, anchor='left')


def convert_window_zero(bench):
    return _convert(bench, window=0)


def convert_image_word(bench):
    return _convert(bench, image='yes')


def convert_levels_unknown(bench):
    return _convert(bench, levels='stem')


def convert_multiple_of_no_image(bench):
    return _convert(bench, multiple=8)


def convert_image_of_one_size(bench):
    return _convert(bench, _Positions(), levels='image')


def convert_image_beside_the_network(bench):
    return _convert(bench, image=True, forward=lambda net, image: net[2](net[1](net[0](image))))


def convert_image_in_front_of_frozen_weights(bench):
    net = _net()
    net[0].requires_grad_(False)
    with pytest.warns(UserWarning, match='frozen') as caught:
        convert_dynopool(net, image=True)
    return str(caught[-1].message)


def plan_rule_unknown(bench):
    return bench.call(plan_conversion, _net(), rule='instead')


def plan_of_what_is_refused(bench):
    return bench.call(lambda: print(plan_conversion(_PoolingNetwork())), ok=True)
