"""Frozen networks whose parts that learn are several, or no ``backbone``."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.config import dynopool_parts
from mmseg_dynopool.export import freeze_checkpoint, freeze_config
from mmseg_dynopool.layers import DynOPool, learned_pools
from mmseg_dynopool.layers.find import all_pools
from support.networks import learned
from support.parts_network import (
    HRNET,
    RESNET,
    LearnsAlways,
    PartsSegmentor,
    RenamesItsPart,
    parts_config,
)


def test_every_part_is_frozen_wherever_it_is(tmp_path):
    """One that was frozen before keeps its scales."""
    fixed = dict(type='DynOPoolBackbone', backbone=RESNET,
                 dynopool=dict(rule='after', scale=0.37, learn=False))
    cfg = parts_config(others=[HRNET, fixed])
    assert list(dynopool_parts(cfg.model)) == ['image_encoder', 'others.0', 'others.1']
    model = learned(make=lambda: cfg.model)
    torch.save(model.state_dict(), tmp_path / 'net.pth')
    scales = freeze_checkpoint(cfg, str(tmp_path / 'net.pth'), tmp_path / 'out')
    assert sorted(scales.values()) == sorted(p.scale.tolist() for p in all_pools(model).values())
    frozen = load_network(Config.fromfile(tmp_path / 'out' / 'config.py'),
                          str(tmp_path / 'out' / 'weights.safetensors'))
    assert type(frozen) is PartsSegmentor and not learned_pools(frozen)
    assert {name: pool.read_alpha() for name, pool in all_pools(frozen).items()} == {
        name: pool.read_alpha() for name, pool in all_pools(model).items()}
    encoder, hrnet, other = dynopool_parts(frozen.cfg.model).values()
    assert (encoder.dynopool.rule, other.dynopool.rule) == ('before', 'after')
    assert set(hrnet.dynopool.scale) == set(model.others[0].dynopools)
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(frozen(image), model(image))


def test_a_backbone_of_the_short_form_and_another_part():
    head = dict(type='FCNHead', in_channels=32, channels=4, num_classes=2)
    short = dict(type='DynOPoolEncoderDecoder', backbone=RESNET, dynopool=dict(rule='before'),
                 decode_head=head, neck=dict(HRNET))
    assert {path: part['type'] for path, part in dynopool_parts(short).items()} == dict(
        backbone='DynOPoolBackbone', neck='DynOPoolHRNet')


def test_a_part_that_cannot_be_followed_is_named():
    cfg = parts_config(RenamesItsPart)
    with pytest.raises(ValueError, match=r'cannot follow image_encoder, encoder\.dynopools\.stride2'
                                         r'.*use freeze_pools\(model\)'):
        freeze_config(cfg, MODELS.build(cfg.model))


def test_a_pool_beside_the_parts_is_named():
    cfg = parts_config()
    model = MODELS.build(cfg.model)
    model.neck = DynOPool()
    with pytest.raises(ValueError, match=r'cannot follow neck between'):
        freeze_config(cfg, model)


def test_what_still_learns_is_not_written(tmp_path):
    """Its weights and outputs are those of the trained network."""
    cfg = parts_config(LearnsAlways)
    torch.save(learned(make=lambda: cfg.model).state_dict(), tmp_path / 'net.pth')
    with pytest.raises(RuntimeError, match='differs from the trained network'):
        freeze_checkpoint(cfg, str(tmp_path / 'net.pth'), tmp_path / 'out')
    assert list((tmp_path / 'out').iterdir()) == []
