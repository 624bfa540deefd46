"""Costs beside the stock network's."""

import pytest
from mmengine.config import ConfigDict
from mmseg.models import backbones
from torch import nn

from mmseg_dynopool.analysis.cost import MeasuredCost, build, measure, resized_images, stock_model
from mmseg_dynopool.export.freeze import plain_model
from mmseg_dynopool.layers import DynOPool, ImageResize, freeze_pools
from support.parts_network import HRNET, RESNET, parts_config


def test_slow_moments_of_the_machine_stay_out_of_the_ratio():
    """One round ran ten times as slowly, and half of another one."""
    stock = MeasuredCost(1, 1.0, [], [1.0, 1.0, 10.0, 1.0, 1.0])
    run = MeasuredCost(1, 0.8, [], [0.8, 0.8, 8.0, 8.0, 0.8])
    assert run.time_ratio(stock) == pytest.approx((0.8, 0.8, 0.8))
    assert stock.time_ratio(stock) == (1, 1, 1)
    even = MeasuredCost(1, 1.0, [], [1.0] * 3)
    low, middle, high = MeasuredCost(1, 1.0, [], [3.0, 1.0, 2.0]).time_ratio(even)
    assert (low, middle, high) == (1.5, 2.0, 2.5)


def test_to_which_size_a_network_resizes_its_image():
    network = nn.Sequential(ImageResize((0.5, 1.0), multiple=8), DynOPool(0.25))
    assert resized_images(network, (100, 90)) == [(48, 90)]
    assert resized_images(freeze_pools(network), (100, 90)) == [(48, 90)]
    assert resized_images(network[1:], (100, 90)) == []


def test_the_stock_network_of_a_config():
    learned = ConfigDict(type='DynOPoolCascadeEncoderDecoder', gmacs_budget=dict(target=0.5),
                         backbone=dict(type='DynOPoolHRNet', extra=dict(a=1),
                                       dynopool=dict(scale=0.4), init_cfg=dict(type='Kaiming')))
    assert stock_model(learned) == dict(
        type='CascadeEncoderDecoder',
        backbone=dict(type='HRNet', extra=dict(a=1)))
    assert learned.backbone.type == 'DynOPoolHRNet'
    plain = ConfigDict(type='EncoderDecoder', backbone=dict(type='UNet'))
    assert stock_model(plain) is None and stock_model(plain, is_stock=True) == plain


@pytest.mark.parametrize('as_backbone', [False, True])
def test_the_stock_network_of_a_converted_one(as_backbone):
    stock = dict(type='mmseg.ResNetV1c', depth=18)
    start = dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth'), pretrained='b.pth')
    model = ConfigDict(type='DynOPoolEncoderDecoder', gmacs_weight=1., pretrained='c.pth',
                       backbone=dict(stock, **start), dynopool=dict(rule='after'))
    if as_backbone:
        model.backbone = dict(type='DynOPoolBackbone', backbone=model.backbone, pretrained='d.pth',
                              dynopool=model.pop('dynopool'))
    expected = dict(type='EncoderDecoder', backbone=dict(type='ResNetV1c', depth=18))
    assert stock_model(model) == expected
    assert stock_model(ConfigDict(type='mmseg.EncoderDecoder', backbone=dict(stock, **start)),
                       is_stock=True) == expected
    assert plain_model(model) == dict(type='EncoderDecoder', backbone=dict(
        type='DynOPoolBackbone', backbone=stock, dynopool=dict(rule='after')))


@pytest.mark.parametrize('ours, kind', [
    ('EncoderDecoder', 'mmseg.HRNet'), ('mmseg.EncoderDecoder', 'HRNet'),
    ('DynOPoolEncoderDecoder', 'mmseg_dynopool.DynOPoolHRNet'),
    ('mmseg.DynOPoolEncoderDecoder', 'DynOPoolHRNet'), ('EncoderDecoder', backbones.HRNet)])
def test_the_stock_network_of_a_config_whose_types_are_scoped_or_classes(ours, kind):
    config = ConfigDict(type=ours, backbone=dict(type=kind, extra=dict(a=1)))
    assert stock_model(config) == dict(
        type='EncoderDecoder', backbone=dict(type='HRNet', extra=dict(a=1)))


def test_the_stock_network_of_parts_of_other_names():
    """And the sizes of what they return, in the order in which they run."""
    cfg = parts_config(others=[dict(HRNET, dynopool=dict(scale=0.3))]).model
    stock = stock_model(cfg)
    assert stock == dict(type=cfg.type, image_encoder=RESNET,
                         others=[dict(HRNET, type='HRNet')])
    assert cfg.others[0].dynopool.scale == 0.3  # the original is left alone
    plain = ConfigDict(type=cfg.type, image_encoder=RESNET)
    assert stock_model(plain) is None and stock_model(plain, is_stock=True) == plain
    costs = measure(dict(ours=build(cfg, 'cpu'), stock=build(stock, 'cpu')), (64, 128), 1,
                    ('image_encoder', 'others.0'))
    resnet = [(16, 32), (8, 16), (4, 8), (2, 4)]
    assert costs['stock'].sizes == [*resnet, (16, 32), (8, 16)]
    assert costs['ours'].sizes == [*resnet, (16, 32), (5, 10)]
    assert measure(dict(ours=build(cfg, 'cpu')), (64, 128), 1)['ours'].sizes == []
