"""A pooling that a project brings: the one of docs/options.md, in both kinds of networks."""

import re

import pytest
import torch
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.costs import fit_latency, probe_complexity
from mmseg_dynopool.layers import DynOPool, ResizingPool, ShapeAdaptor, freeze_pools
from mmseg_dynopool.learning import ScaleLearner
from mmseg_dynopool.models import DynOPoolHRNet
from mmseg_dynopool.models.hr_module import PooledFeatures
from support.toys import ROOT, hrnet_extra


@pytest.fixture(scope='module', autouse=True)
def area_pool():
    block, = re.findall(r'```python\n([^`]*class AreaPool.*?)```',
                        (ROOT / 'docs' / 'options.md').read_text(), re.S)
    names: dict = {}
    exec(block, names)
    return names['AreaPool']


def converted(**options):
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2),
                            nn.Conv2d(8, 4, 3, 2, 1))
    return convert_dynopool(network, type='AreaPool', **options)


def test_it_ends_at_a_cost(area_pool):
    model = converted()
    assert {type(pool) for pool in model.dynopools.values()} == {area_pool}
    assert [pool.bounds for pool in model.dynopools.values()] == [(0.125, 1.0)] * 3
    image = torch.rand(2, 3, 64, 96)
    assert model(image).shape == (2, 4, 8, 12)
    cost = probe_complexity(model, (64, 96))
    learner = ScaleLearner(model, steps=12, cost=cost, target=0.5, jitter=0.0)
    for _ in range(12):
        with learner.step(lambda: model(image).square().mean()):
            model(image).square().mean().backward()
    alphas = {name: pool.alpha.tolist() for name, pool in model.named_modules()
              if isinstance(pool, ResizingPool)}
    assert cost.counted(model)(alphas) / cost.initial == pytest.approx(0.5, abs=0.05)


def test_in_an_hrnet_with_its_options(area_pool):
    net = DynOPoolHRNet(hrnet_extra(), dynopool=dict(type='AreaPool', bounds=(0.25, 0.75)))
    assert {(type(pool), pool.bounds) for pool in net.dynopools.values()} == {
        (area_pool, (0.25, 0.75))}
    sizes = [tuple(y.shape[2:]) for y in net(torch.rand(1, 3, 64, 64))]
    assert sizes == [(16, 16), (8, 8), (4, 4), (2, 2)]


def test_in_an_hrnet_weights_get_the_gradient_of_its_own_values(monkeypatch):
    """Those of convolutions that keep their inputs."""
    net = DynOPoolHRNet(hrnet_extra(), dynopool=dict(type='AreaPool')).double()
    image = torch.rand(2, 3, 64, 64, dtype=torch.double)
    weights = [p for name, p in net.named_parameters() if name.endswith('weight')]

    def gradients():
        return torch.autograd.grad(sum(y.square().mean() for y in net(image)), weights)

    found = gradients()
    monkeypatch.setattr(PooledFeatures, 'convolve', lambda pooled, step: step(pooled.output))
    for gradient, expected in zip(found, gradients()):
        torch.testing.assert_close(gradient, expected)


def test_the_newest_of_a_name_counts_and_none_takes_the_place_of_ours(area_pool):
    newer = type('AreaPool', (DynOPool, ), dict(forward=area_pool.forward))
    assert {type(pool) for pool in converted().dynopools.values()} == {newer}
    type('ShapeAdaptor', (DynOPool, ), {})
    adaptors = convert_dynopool(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1)), type='ShapeAdaptor')
    assert isinstance(adaptors.dynopools.stride2, ShapeAdaptor)
    del newer


def test_without_a_constant_form_it_is_neither_frozen_nor_timed_as_another():
    model = converted()
    with pytest.raises(ValueError, match='cannot freeze or export a AreaPool'):
        freeze_pools(model)
    with pytest.raises(ValueError, match='a AreaPool has no form with constant scales'):
        fit_latency(model, (64, 96))
    with pytest.raises(ValueError, match='a AreaPool has no form with a constant scale'):
        converted(learn=False)
