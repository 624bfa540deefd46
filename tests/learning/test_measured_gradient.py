"""Alpha's gradient from losses at larger and smaller sizes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_dynopool.layers import DynOPool, measure_alpha_gradient

SLOPES = torch.tensor([[0.3, -0.2], [1.5, 0.0], [-0.7, 0.1]])  # by the logarithms of the alphas


def pools():
    return nn.ModuleDict({name: DynOPool(scale) for name, scale in
                          (('stem', 0.5), ('stream1', (0.4, 0.8)), ('stream2', 0.25))})


def logarithms(model):
    return torch.stack([pool.alpha.log() for pool in model.values()])


def cycle(model, loss, **options):
    """The mean of the estimates of two rounds."""
    found = [measure_alpha_gradient(model, model, loss, turn, **options)
             for turn in range(2 * len(model))]
    return torch.stack([torch.stack([f[name] for name in model]) for f in found]).mean(0)


def test_two_rounds_give_the_slopes_of_a_linear_loss():
    model = pools()
    found = cycle(model, lambda: (SLOPES * logarithms(model)).sum())
    expected = SLOPES / torch.stack([pool.alpha.detach() for pool in model.values()])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_one_turn_measures_both_axes_of_one_pool():
    model = pools()
    found = measure_alpha_gradient(model, model, lambda: (SLOPES * logarithms(model)).sum(), 1)
    alphas = model['stream1'].alpha.detach()
    torch.testing.assert_close(found['stream1'], 3 * SLOPES[1].sum() / alphas, rtol=1e-4, atol=1e-5)
    assert found['stem'].tolist() == found['stream2'].tolist() == [0, 0]


def test_a_loss_that_grows_both_ways_pulls_neither_way():
    """The stock strides are such a kink: there no query lies between pixels."""
    model = pools()
    start = logarithms(model).detach()
    found = cycle(model, lambda: (logarithms(model) - start).abs().sum())
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-4)


def test_sees_the_detail_that_the_straight_through_gradient_misses():
    """A pattern of stripes, pooled and resized back: its error falls with the density of cells."""
    stripes = (torch.arange(96) * 2 * torch.pi / 12).sin().expand(1, 1, 96, 96)  # along the width
    model = nn.ModuleDict(dict(pool=DynOPool(0.25)))

    def loss():
        pooled = model['pool'](stripes, reduce='mean')
        return (F.interpolate(pooled, (96, 96), mode='bilinear') - stripes).square().mean()

    measured = cycle(model, loss)[0]
    loss().backward()
    straight_through = model['pool'].alpha.grad
    assert measured[1] > 0.05 and abs(measured[0]) < 0.02 * measured[1]
    assert straight_through[1] < measured[1] / 4


class Noisy(nn.Module):

    def __init__(self):
        super().__init__()
        self.pool = DynOPool(0.5)
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))

    def forward(self, images):
        return self.layers(self.pool(images)).square().mean()


def test_leaves_everything_as_it_was():
    torch.manual_seed(0)
    model, images = Noisy(), torch.rand(2, 1, 16, 16)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    measure_alpha_gradient(model, {'pool': model.pool}, lambda: model(images), 3)
    assert torch.equal(random, torch.get_rng_state())
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert all(parameter.grad is None for parameter in model.parameters())


def test_leaves_everything_as_it_was_after_an_error():
    model = pools()
    start = logarithms(model)
    with pytest.raises(RuntimeError, match='no loss'):
        measure_alpha_gradient(model, model, lambda: (_ for _ in ()).throw(
            RuntimeError('no loss')), 0)
    assert torch.equal(start, logarithms(model))


def test_dropout_falls_alike_on_both_sides():
    model = Noisy()
    found = measure_alpha_gradient(model, {'pool': model.pool},
                                   lambda: F.dropout(torch.ones(1000), 0.5).sum(), 0)
    assert found['pool'].tolist() == [0, 0]


def test_an_anchor_of_none_has_no_gradient_of_its_own():
    images = torch.rand(1, 2, 12, 12, requires_grad=True)
    pool, other = DynOPool(0.4, anchor='none'), DynOPool(0.4)
    pooled, expected = pool(images), other(images)
    assert torch.equal(pooled, expected)
    weight = torch.rand_like(pooled)
    ours, = torch.autograd.grad(pooled, images, weight)
    theirs, = torch.autograd.grad(expected, images, weight)
    assert torch.equal(ours, theirs)
    pool(images).sum().backward()
    assert pool.alpha.grad.tolist() == [0, 0]
