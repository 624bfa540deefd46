"""Learned scales as constants, and weights without pickle."""

import pickle
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from mmseg.apis import init_model
from mmseg.registry import MODELS

from mmseg_dynopool.checkpoints.safetensors import load_from_safetensors, save_safetensors
from mmseg_dynopool.costs import count_gmacs
from mmseg_dynopool.costs.summary import summarize
from mmseg_dynopool.export import freeze_config
from mmseg_dynopool.layers import (
    DynOPool,
    DynOPoolConv2d,
    FixedDynOPool,
    freeze_pools,
    learned_pools,
)
from support.commands import own_singletons
from support.networks import learned
from support.toys import converted_config, segmentor_config


def same(model, frozen, sizes=((64, 96), (37, 81), (129, 40))):
    for size in sizes:
        image = torch.randn(2, 3, *size)
        with torch.no_grad():
            assert torch.equal(model._forward(image), frozen._forward(image))


@pytest.mark.parametrize('seed', range(4))
def test_frozen_network_gives_the_same_bits(seed):
    model = learned(seed, stem=seed % 2 == 1)
    frozen = freeze_pools(model)
    same(model, frozen)
    assert learned_pools(model) and not learned_pools(frozen)
    assert list(model.state_dict()) == list(frozen.state_dict())
    assert count_gmacs(model.backbone, (64, 96)) == count_gmacs(frozen.backbone, (64, 96))


def test_layers_of_one_instance_share_one_constant():

    class Net(torch.nn.Module):

        def __init__(self):
            super().__init__()
            self.pool = DynOPool(0.3)
            self.a = DynOPoolConv2d(self.pool, 1, 1, 1, shared=True)
            self.b = DynOPoolConv2d(self.pool, 1, 1, 1, shared=True)

    net = Net()
    frozen = freeze_pools(net)
    assert isinstance(frozen.pool, FixedDynOPool)
    assert frozen.a.pool is frozen.pool and frozen.b.pool is frozen.pool
    assert net.a.pool is net.pool and isinstance(net.pool, DynOPool)
    image = torch.rand(1, 1, 20, 20)
    assert torch.equal(net.a(image), frozen.a(image))


@pytest.mark.parametrize('cascade', [False, True])
@pytest.mark.parametrize('bounds', [(0.125, 1.0), (0.3, 0.6)])
def test_frozen_config_builds_the_same_network(tmp_path, cascade, bounds):
    """At a bound, too, where the scale read from alpha may lie beyond it by a rounding."""
    model = learned(cascade=cascade, bounds=bounds)
    cfg = Config(dict(
        model=segmentor_config(cascade=cascade, bounds=bounds, gmacs_weight=0.1),
        custom_hooks=[dict(type='DynOPoolHook'), dict(type='MeasuredGradientHook'),
                      dict(type='GMACsBudgetHook'), dict(type='EMAHook'),
                      dict(type='LatencyBudgetHook'), dict(type='mmseg.ShapeLogHook')],
        optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=0.5)})),
        load_from='old.pth'))
    frozen_cfg = freeze_config(cfg, model)
    frozen_cfg.dump(tmp_path / 'config.py')
    frozen_cfg = Config.fromfile(tmp_path / 'config.py')
    assert frozen_cfg.model.type == ('CascadeEncoderDecoder' if cascade else 'EncoderDecoder')
    assert frozen_cfg.custom_hooks == [dict(type='EMAHook')]
    assert frozen_cfg.optim_wrapper.paramwise_cfg.custom_keys == {}
    assert 'load_from' not in frozen_cfg and 'gmacs_weight' not in frozen_cfg.model
    assert cfg.model.gmacs_weight == 0.1  # the original is left alone
    frozen = MODELS.build(frozen_cfg.model)
    frozen.load_state_dict(freeze_pools(model).state_dict())
    frozen.eval()
    same(model, frozen)


def test_a_frozen_network_trains_at_its_sizes():
    frozen = freeze_pools(learned())
    frozen.backbone.train()
    image = torch.randn(2, 3, 64, 96)
    before = [y.shape for y in frozen.backbone(image)]
    optimizer = torch.optim.SGD(frozen.backbone.parameters(), lr=0.1)
    sum(y.square().mean() for y in frozen.backbone(image)).backward()
    moved = {n: p.clone() for n, p in frozen.backbone.named_parameters()}
    optimizer.step()
    assert all(not torch.equal(p, moved[n]) for n, p in frozen.backbone.named_parameters())
    assert [y.shape for y in frozen.backbone(image)] == before


def test_the_gradient_of_the_input_is_that_of_the_learned_one():
    pool = DynOPool((0.4, 0.7))
    fixed = pool.freeze()
    gradients = []
    for layer in (pool, fixed):
        image = torch.arange(2. * 17 * 23).remainder(7).view(1, 2, 17, 23).requires_grad_()
        layer(image).square().sum().backward()
        gradients.append(image.grad)
    torch.testing.assert_close(*gradients)


def test_costs_of_a_frozen_network():
    model = learned()
    learned_cost = summarize(model.backbone, (64, 96))
    fixed_cost = summarize(freeze_pools(model).backbone, (64, 96))
    assert fixed_cost['gmacs'] == learned_cost['gmacs']
    assert fixed_cost['stock_gmacs'] == learned_cost['stock_gmacs']
    assert fixed_cost['by_resolution'] == learned_cost['by_resolution']
    assert fixed_cost['params'] == learned_cost['params'] - 6


@pytest.mark.parametrize('of_model, of_hook', [
    (dict(latency_budget=dict(target=0.98), gmacs_shape=(64, 96)), {}),  # as in 0.3
    ({}, dict(gmacs_budget=dict(target=0.98), travel=1.0))])
def test_a_budget_stays_behind_with_its_training(of_model, of_hook):
    model = learned(make=lambda: dict(segmentor_config(), **of_model))
    cfg = Config(dict(model=dict(segmentor_config(), **of_model),
                      custom_hooks=[dict(type='DynOPoolHook', **of_hook)]))
    frozen = freeze_config(cfg, model)
    assert frozen.custom_hooks == [] and set(frozen.model) == {
        'type', 'data_preprocessor', 'backbone', 'decode_head', 'train_cfg', 'test_cfg'}
    plain = MODELS.build(frozen.model)
    plain.load_state_dict(freeze_pools(model).state_dict())  # strict
    plain.eval()
    same(model, plain)


@pytest.mark.parametrize('settings', [{}, dict(optim_wrapper=None), dict(
    optim_wrapper=dict(paramwise_cfg=None), custom_hooks=[dict(type='mmseg.DynOPoolHook')])])
def test_configs_that_say_little(settings):
    frozen = freeze_config(Config(dict(model=segmentor_config(), **settings)), learned())
    assert frozen.custom_hooks == [] and frozen.model.backbone.dynopool.learn is False


def test_a_runner_builds_what_was_frozen_without_a_default_scope(tmp_path):
    """Our segmentor is known to mmengine itself, the plain one to mmseg alone."""
    cfg = Config(dict(model=segmentor_config(), work_dir=str(tmp_path)))
    cfg.model.backbone.norm_cfg = dict(type='BN')
    frozen = freeze_config(cfg, learned())
    frozen.work_dir = str(tmp_path)
    with own_singletons():
        model = Runner.from_cfg(frozen).model
    assert f'{type(model).__module__}.{type(model).__name__}' == (
        'mmseg.models.segmentors.encoder_decoder.EncoderDecoder')


def test_double_precision_keeps_its_sizes():
    pool = DynOPool().double()
    with torch.no_grad():
        pool.alpha.fill_(2 + 1e-9)
    image = torch.rand(1, 1, 65, 65, dtype=torch.float64)
    assert torch.equal(pool(image), pool.freeze()(image))


def test_what_cannot_be_frozen_is_named():
    model = learned()
    stock = Config(dict(model=dict(type='EncoderDecoder', backbone=dict(type='ResNet'))))
    with pytest.raises(ValueError, match=r"'ResNet'.*freeze_pools"):
        freeze_config(stock, model)
    with pytest.raises(ValueError, match='frozen already'):
        freeze_config(Config(dict(model=segmentor_config())), freeze_pools(model))


def test_safetensors_load_wherever_a_checkpoint_does(tmp_path, monkeypatch):
    model = learned()
    path = tmp_path / 'weights.safetensors'
    save_safetensors(model.state_dict(), path, dict(dataset_meta=dict(classes=('a', 'b', 'c'))))

    def refuse(*args, **kwargs):
        raise AssertionError('something was unpickled')

    for name in ('load', 'loads', 'Unpickler'):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, 'load', refuse)
    loaded = init_model(Config(dict(model=segmentor_config())), str(path), device='cpu')
    assert loaded.dataset_meta['classes'] == ['a', 'b', 'c']
    same(model, loaded)


def test_safetensors_from_a_url_and_to_a_device(tmp_path):
    state = dict(w=torch.ones(2, 2)[:, :1], tied=torch.ones(3))
    state['tied_too'] = state['tied']
    save_safetensors(state, tmp_path / 'w.safetensors', dict(palette=np.zeros((1, 3), int)))
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}/w.safetensors'
        loaded = CheckpointLoader.load_checkpoint(url, map_location='cpu')
        server.shutdown()
    assert loaded['meta'] == dict(palette=[[0, 0, 0]])
    assert {k: v.tolist() for k, v in loaded['state_dict'].items()} == {
        k: v.tolist() for k, v in state.items()}
    for place, device in (('meta', 'meta'), (torch.device('meta'), 'meta'), (None, 'cpu'),
                          (lambda storage, location: storage, 'cpu')):
        found = load_from_safetensors(str(tmp_path / 'w.safetensors'), place)['state_dict']['w']
        assert found.device.type == device


@pytest.mark.parametrize('length', [0, 5, 1000, -1])
def test_a_cut_off_safetensors_file_is_named(tmp_path, length):
    path = tmp_path / 'weights.safetensors'
    save_safetensors(learned().state_dict(), path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r'weights.safetensors cannot be read as safetensors'):
        init_model(Config(dict(model=segmentor_config())), str(path), device='cpu')


@pytest.mark.parametrize('as_backbone', [False, True])
@pytest.mark.parametrize('kind, options', [
    ('ResNet', dict(skip='layer3.*')), ('ResNet7', dict(rule='after', bounds=(0.03, 3.0))),
    ('UNet', dict(window=4))])
def test_the_frozen_config_of_a_converted_network(tmp_path, kind, options, as_backbone):
    """At scales far from the start, too."""
    cfg = Config(dict(model=converted_config(kind, **options)))
    model = learned(make=lambda: cfg.model)
    with torch.no_grad():
        pool = next(iter(model.backbone.dynopools.values()))
        pool.alpha.copy_(torch.tensor([pool.alpha_bounds[1], 1.0]))
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='lost.pth')
    cfg.model.pretrained = 'lost.pth'
    if as_backbone:
        cfg.model.backbone = dict(type='DynOPoolBackbone', backbone=cfg.model.backbone,
                                  dynopool=cfg.model.pop('dynopool'))
    freeze_config(cfg, model).dump(tmp_path / 'config.py')
    assert 'lost.pth' not in (tmp_path / 'config.py').read_text()
    frozen_model = Config.fromfile(tmp_path / 'config.py').model
    assert frozen_model.type == 'EncoderDecoder' and 'dynopool' not in frozen_model
    assert frozen_model.backbone.type == 'DynOPoolBackbone'
    assert {k: v for k, v in frozen_model.backbone.dynopool.items() if k in options} == options
    frozen = MODELS.build(frozen_model)
    frozen.load_state_dict(freeze_pools(model).state_dict())  # strict
    frozen.eval()
    same(model, frozen, ((64, 96), (32, 128)))
    for name, pool in model.backbone.dynopools.items():
        fixed = frozen.backbone.dynopools[name]
        assert fixed.read_alpha() == pool.read_alpha() and fixed.stock_scale == pool.stock_scale
