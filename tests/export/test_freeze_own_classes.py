"""Frozen configs of networks whose class is a user's own, a class itself, or has a scope."""

import sys

import pytest
import torch
from mmengine.config import Config
from mmseg.models import EncoderDecoder
from mmseg.models.backbones import ResNetV1c
from mmseg.registry import MODELS

from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.export import freeze_checkpoint, freeze_config
from mmseg_dynopool.layers import FixedDynOPool, freeze_pools
from mmseg_dynopool.layers.find import all_pools
from mmseg_dynopool.models import DynOPoolBackbone, DynOPoolCascadeEncoderDecoder
from mmseg_dynopool.models.segmentors import DynOPoolEncoderDecoder
from support.networks import learned
from support.toys import converted_config, segmentor_config

# Both have a forward of their own. The first takes DynOPools by itself, the second by its backbone.
NETWORKS = '''
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg_dynopool import DynOPoolEncoderDecoder


class Sharpened:

    def __init__(self, *args, latency_head=None, factor=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.latency_head, self.factor = latency_head, factor

    def extract_feat(self, inputs):
        return [self.factor * y.square() for y in super().extract_feat(inputs)]


@MODELS.register_module()
class UsersDynOPoolSegmentor(Sharpened, DynOPoolEncoderDecoder):
    pass


@MODELS.register_module()
class UsersSegmentor(Sharpened, EncoderDecoder):
    pass
'''
NAMES = ('UsersDynOPoolSegmentor', 'UsersSegmentor')


def forget():
    sys.modules.pop('users_networks', None)
    for name in NAMES:
        MODELS.module_dict.pop(name, None)


@pytest.fixture
def users_networks(tmp_path, monkeypatch):
    """A module with a user's classes, which a config names in custom_imports."""
    (tmp_path / 'users_networks.py').write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    yield 'users_networks'
    forget()


@pytest.mark.parametrize('kind, whole_name', [(NAMES[0], False), (NAMES[0], True),
                                              (NAMES[1], False)])
def test_a_users_network_stays_and_gives_the_same_bits(tmp_path, users_networks, kind, whole_name):
    model_cfg = dict(converted_config(), type=kind, factor=0.3, latency_head=5)
    if kind == 'UsersSegmentor':
        model_cfg['backbone'] = dict(type='DynOPoolBackbone', backbone=model_cfg['backbone'],
                                     dynopool=model_cfg.pop('dynopool'))
    else:
        model_cfg.update(gmacs_budget=dict(target=0.9), gmacs_shape=(64, 96))
    if whole_name:
        model_cfg['type'] = f'{users_networks}.{kind}'
    imports = dict(imports=['mmseg_dynopool', users_networks], allow_failed_imports=False)
    Config(dict(model=model_cfg, custom_imports=imports,
                custom_hooks=[dict(type='DynOPoolHook')])).dump(tmp_path / 'users_config.py')
    cfg = Config.fromfile(tmp_path / 'users_config.py')
    model = learned(make=lambda: cfg.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'net.pth')
    scales = freeze_checkpoint(cfg, str(tmp_path / 'net.pth'), tmp_path / 'out')
    assert scales == {n: pool.scale.tolist() for n, pool in model.backbone.dynopools.items()}

    forget()  # as in another process
    frozen_cfg = Config.fromfile(tmp_path / 'out' / 'config.py')
    assert frozen_cfg.custom_imports == imports and frozen_cfg.custom_hooks == []
    assert frozen_cfg.model.type == model_cfg['type'] and set(frozen_cfg.model) == {
        'type', 'data_preprocessor', 'backbone', 'decode_head', 'train_cfg', 'test_cfg', 'factor',
        'latency_head'}
    frozen = load_network(frozen_cfg, str(tmp_path / 'out' / 'weights.safetensors'))
    assert type(frozen) is sys.modules[users_networks].__dict__[kind]
    assert all(isinstance(pool, FixedDynOPool) for pool in all_pools(frozen).values())
    for size in ((64, 96), (37, 81)):
        image = torch.randn(2, 3, *size)
        with torch.no_grad():
            assert torch.equal(model._forward(image), frozen._forward(image))


ENCODER = 'mmseg.models.segmentors.encoder_decoder.EncoderDecoder'
CASCADE = 'mmseg.models.segmentors.cascade_encoder_decoder.CascadeEncoderDecoder'
BACKBONE = 'mmseg_dynopool.models.converted.DynOPoolBackbone'


@pytest.mark.parametrize('named, stock, backbone', [
    ('DynOPoolEncoderDecoder', 'EncoderDecoder', 'DynOPoolBackbone'),
    ('mmseg.DynOPoolEncoderDecoder', ENCODER, BACKBONE),
    ('mmseg_dynopool.models.DynOPoolEncoderDecoder', ENCODER, BACKBONE),
    (DynOPoolEncoderDecoder, ENCODER, BACKBONE),
    (EncoderDecoder, ENCODER, BACKBONE)])
def test_a_type_is_named_as_the_config_names_it(tmp_path, named, stock, backbone):
    """Classes among the settings are written by their whole names."""
    cfg = Config(dict(model=dict(converted_config(), type=named)))
    cfg.model.backbone.type = ResNetV1c
    if named is EncoderDecoder:
        cfg.model.backbone = dict(type=DynOPoolBackbone, backbone=cfg.model.backbone,
                                  dynopool=cfg.model.pop('dynopool'))
    model = learned(make=lambda: cfg.model)
    freeze_config(cfg, model).dump(tmp_path / 'config.py')
    frozen_cfg = Config.fromfile(tmp_path / 'config.py').model
    assert (frozen_cfg.type, frozen_cfg.backbone.type) == (stock, backbone)
    assert frozen_cfg.backbone.backbone.type == 'mmseg.models.backbones.resnet.ResNetV1c'
    frozen = MODELS.build(frozen_cfg)
    assert type(frozen) is EncoderDecoder
    frozen.load_state_dict(freeze_pools(model).state_dict())


def test_a_cascade_that_is_a_class():
    cfg = Config(dict(model=dict(segmentor_config(cascade=True),
                                 type=DynOPoolCascadeEncoderDecoder)))
    assert freeze_config(cfg, learned(make=lambda: cfg.model)).model.type == CASCADE


def test_a_lazy_config(tmp_path):
    """One that imports its classes."""
    (tmp_path / 'lazy_config.py').write_text(
        'from mmseg.models.backbones import ResNetV1c\n'
        'from mmseg_dynopool.models import DynOPoolEncoderDecoder\n'
        f'model = dict({converted_config()!r}, type=DynOPoolEncoderDecoder)\n'
        "model['backbone']['type'] = ResNetV1c\n")
    cfg = Config.fromfile(tmp_path / 'lazy_config.py')
    torch.save(dict(state_dict=learned(make=lambda: cfg.model).state_dict()), tmp_path / 'net.pth')
    freeze_checkpoint(cfg, str(tmp_path / 'net.pth'), tmp_path / 'out')
    frozen_cfg = Config.fromfile(tmp_path / 'out' / 'config.py')
    assert set(frozen_cfg) == {'model', 'custom_hooks', 'default_scope', 'load_from'}
    assert frozen_cfg.model.type == ENCODER
    assert frozen_cfg.model.backbone.backbone.type == 'mmseg.models.backbones.ResNetV1c'
