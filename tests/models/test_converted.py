"""Backbones of mmseg that the segmentor converts."""

import pytest
import torch
from mmengine.config import Config
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import HOOKS, MODELS
from torch import nn
from torch.testing import assert_close

from mmseg_dynopool.costs import GMACsBudget, probe_complexity
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.models import count_network_gmacs
from mmseg_dynopool.models.cost import network_counter
from mmseg_dynopool.models.whole_network import check_other_sizes, forward_without_postprocessing
from support.toys import SIZE, converted_config, readme_config, segmentor_config


@pytest.fixture
def fixed_head():
    """A head whose positions have the stock network's size, registered for one test."""

    class FixedHead(FCNHead):

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.positions = nn.Parameter(torch.zeros(1, self.in_channels, 44, 52))

        def forward(self, inputs):
            return super().forward([*inputs[:-1], inputs[-1] + self.positions])

    MODELS.register_module(module=FixedHead)
    yield FixedHead
    MODELS.module_dict.pop('FixedHead')


def test_the_four_lines_of_the_readme(tmp_path):
    """With `dynopool` in the place of the backbone, for a user's own network."""
    stock = converted_config('ResNet')
    stock.pop('dynopool')
    (tmp_path / 'my_hrnet_config.py').write_text(
        Config(dict(model=dict(stock, type='EncoderDecoder'))).pretty_text)
    path = tmp_path / 'mine.py'
    path.write_text(readme_config(
        "type='DynOPoolEncoderDecoder', dynopool=dict(rule='before', image=True)"))
    cfg = Config.fromfile(path)
    model = MODELS.build(cfg.model)
    assert type(model.backbone).__name__ == 'ConvertedResNetV1c'
    assert list(model.backbone.dynopools) == ['image', 'stride4', 'stride8', 'stride16']
    hook, = (HOOKS.build(hook) for hook in cfg.custom_hooks)
    assert hook.options.budget == GMACsBudget(target=0.5)


def test_the_cost_and_its_slopes():
    config = converted_config('ResNet')
    model = MODELS.build(config)
    stock = dict(config, type='EncoderDecoder')
    del stock['dynopool']
    own = sum(c.macs for c in network_counter(model, SIZE).calls() if c.op == 'dynopool') / 1e9
    expected = count_network_gmacs(MODELS.build(stock), SIZE) + own
    cost = probe_complexity(model, SIZE, forward=forward_without_postprocessing)
    gmacs = cost.gmacs({name: pool.bounded_alpha() for name, pool in learned_pools(model).items()})
    assert gmacs.item() == pytest.approx(expected, rel=1e-6)
    gmacs.backward()
    # Halving a level's sides quarters all below it: -d log gmacs / d log alpha is its share.
    alpha = model.backbone.dynopools['stride8'].alpha
    below = sum(c.gmacs for c in cost.layers if 'backbone.dynopools.stride8' in c.exponents)
    assert_close(-alpha.grad * alpha.detach(), torch.full((2, ), below), rtol=1e-5, atol=0)


def test_frozen_stages_freeze_the_levels_that_they_run_in():
    config = converted_config('ResNet')
    config['backbone'] = dict(config['backbone'], frozen_stages=1)
    pools = MODELS.build(config).backbone.dynopools
    assert {name: pool.alpha.requires_grad for name, pool in pools.items()} == dict(
        stride2=False, stride4=False, stride8=True, stride16=True)


def test_weights_to_start_from(tmp_path):
    """`init_cfg` of the stock backbone reads a checkpoint of the stock backbone."""
    config = converted_config('ResNet')
    stock = MODELS.build(config['backbone'])
    for parameter in stock.parameters():
        nn.init.normal_(parameter)
    torch.save(dict(state_dict=stock.state_dict()), tmp_path / 'stock.pth')
    config['backbone'] = dict(config['backbone'], init_cfg=dict(
        type='Pretrained', checkpoint=str(tmp_path / 'stock.pth')))
    model = MODELS.build(config)
    model.init_weights()
    loaded = model.backbone.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in stock.state_dict().items())
    assert [key for key in loaded if key not in stock.state_dict()] == [
        f'dynopools.stride{s}.alpha' for s in (2, 4, 8, 16)]


@pytest.mark.parametrize('lines, segmentor', [
    ("type='DynOPoolEncoderDecoder', dynopool=dict(rule='before', image=True)",
     'DynOPoolEncoderDecoder'),
    ("backbone=dict(_delete_=True, type='DynOPoolBackbone', "
     "backbone={{_base_.model.backbone}}, dynopool=dict(rule='before', image=True))",
     'EncoderDecoder')])
def test_pretrained_of_the_model_reaches_the_stock_backbone(tmp_path, lines, segmentor):
    """As mmseg's model files have it; both forms of docs/adopt.md over such a file."""
    weights = 'torchvision://resnet50'
    stock = dict(converted_config('ResNet'), type='EncoderDecoder', pretrained=weights)
    stock.pop('dynopool')
    (tmp_path / 'my_config.py').write_text(Config(dict(model=stock)).pretty_text)
    (tmp_path / 'mine.py').write_text(f"_base_ = './my_config.py'\nmodel = dict({lines})\n")
    cfg = Config.fromfile(tmp_path / 'mine.py')
    backbone = cfg.model.backbone.get('backbone', cfg.model.backbone)
    assert backbone == stock['backbone'] and cfg.model.pretrained == weights
    model = MODELS.build(cfg.model)
    assert type(model).__name__ == segmentor
    assert model.backbone.init_cfg == dict(type='Pretrained', checkpoint=weights)
    assert list(model.backbone.dynopools) == ['image', 'stride4', 'stride8', 'stride16']


def test_a_head_of_one_size_is_refused(fixed_head):
    config = converted_config('ResNet')
    head = config['decode_head']
    config['decode_head'] = dict(
        type='FixedHead', in_channels=head['in_channels'], in_index=3, channels=8, num_convs=1,
        concat_input=False, num_classes=3, norm_cfg=dict(type='BN'), align_corners=False)
    model = MODELS.build(config)  # what a head takes is looked at where the scales learn
    with pytest.raises(ValueError, match='a head takes features of the stock sizes alone'):
        check_other_sizes(model)


def test_options_are_checked():
    config = converted_config('ResNet')
    with pytest.raises(ValueError, match=r"unknown dynopool options \['stem'\]"):
        MODELS.build(dict(config, dynopool=dict(stem=True)))
    with pytest.raises(ValueError, match='rule must be one of'):
        MODELS.build(dict(config, dynopool=dict(rule='behind')))
    with pytest.raises(ValueError, match='dynopool must be a dict of options'):
        MODELS.build(dict(config, dynopool=['before']))
    with pytest.raises(ValueError, match='holds a DynOPool already'):
        MODELS.build(dict(segmentor_config(), dynopool=dict(rule='before')))
    config.pop('dynopool')
    with pytest.raises(ValueError, match=r"model.dynopool=dict\(rule='before'\) to convert it"):
        MODELS.build(config)
