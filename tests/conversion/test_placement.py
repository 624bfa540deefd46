"""Rule 2: where the DynOPool stands behind the activation, and that it acts there."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool, plan_conversion
from mmseg_dynopool.ops import dynopool2d
from support.toy_networks import Block, Gate, Run, conv, set_scales

ACTIVATIONS = [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.PReLU(), nn.SiLU(), nn.GELU(),
               nn.LeakyReLU(0.1), nn.ELU(), nn.Hardswish(), nn.Mish(), nn.Tanh(), nn.Sigmoid()]


def changes(model, **options):
    plan = plan_conversion(model, 'after', **options)
    assert plan.refusals == []
    return [(c.module, c.place) for c in plan.changes]


@pytest.mark.parametrize('act', ACTIVATIONS, ids=str)
@pytest.mark.parametrize('norm', [True, False])
def test_behind_the_activation_that_follows(act, norm):
    norms = [nn.BatchNorm2d(4)] if norm else []
    act = copy.deepcopy(act)
    net = nn.Sequential(conv(3, 4, 3, 2), *norms, act, conv(4, 4)).eval()
    assert changes(net) == [('0', 'gone'), (str(1 + norm), 'behind')]
    image = torch.randn(1, 3, 16, 24)
    weight, bias = net[0].weight, net[0].bias
    y = F.conv2d(image, weight, bias, padding=1)
    if norm:
        y = net[1](y)
    expected = net[-1](dynopool2d(act(y), (1 / 0.4, 1 / 0.7)))
    model = set_scales(convert_dynopool(net, 'after'), stride2=(0.4, 0.7))
    torch.testing.assert_close(model(image), expected, rtol=1e-5, atol=1e-6)


def test_behind_the_convolution_where_no_activation_follows():
    net = nn.Sequential(conv(3, 4, 3, 2), nn.GroupNorm(2, 4), conv(4, 4))
    assert changes(net) == [('0', 'behind')]
    image = torch.randn(1, 3, 16, 24)
    pooled = dynopool2d(F.conv2d(image, net[0].weight, net[0].bias, padding=1), (4.0, 1.25))
    expected = net[2](net[1](pooled))
    model = set_scales(convert_dynopool(net, 'after'), stride2=(0.25, 0.8))
    torch.testing.assert_close(model(image), expected, rtol=1e-5, atol=1e-6)


def test_before_the_only_reader_of_a_shared_activation():
    net = Run(lambda m, x: m.act(m.b(m.act(m.a(x)))), a=conv(3, 4, 3, 2), b=conv(4, 4),
              act=nn.ReLU())
    assert changes(net) == [('a', 'gone'), ('b', 'before')]
    functional = Run(lambda m, x: m.b(F.relu(m.a(x))), a=conv(3, 4, 3, 2), b=conv(4, 4))
    assert changes(functional) == [('a', 'gone'), ('b', 'before')]


def test_behind_the_convolution_where_a_shared_activation_is_read_twice():
    net = Run(lambda m, x: (lambda y: m.b(y) + m.c(y))(F.relu(m.a(x))),
              a=conv(3, 4, 3, 2), b=conv(4, 4), c=conv(4, 4))
    assert changes(net) == [('a', 'behind')]


def test_of_a_residual_block():
    net = nn.Sequential(conv(3, 4), Block(4, 8, 2))
    # The activation is the block's one, used twice: so before the second convolution.
    # The shortcut has a norm and no activation: behind both.
    assert changes(net) == [('1.conv1', 'gone'), ('1.conv2', 'before'), ('1.down.1', 'gone'),
                            ('1.down', 'behind')]


def test_of_a_depthwise_convolution_before_its_gate():
    net = nn.Sequential(conv(3, 4, 3, 2, groups=1), nn.SiLU(), Gate(4), conv(4, 4, 1))
    assert changes(net) == [('0', 'gone'), ('1', 'behind')]


@pytest.mark.parametrize('kernel, padding', [(3, 1), (4, 1), (2, 0)])
def test_a_reader_that_strides_itself(kernel, padding):
    """Of two levels: the first pools before it, its own behind it."""
    def build():
        torch.manual_seed(0)
        return Run(lambda m, x: F.relu(m.b(F.relu(m.a(x)))), a=conv(3, 4, 3, 2),
                   b=conv(4, 4, kernel, 2, padding))

    plan = plan_conversion(build(), 'after')
    assert [(c.level, c.module, c.place) for c in plan.changes] == [
        ('stride2', 'a', 'gone'), ('stride2', 'b', 'before'), ('stride4', 'b', 'behind')]
    model = set_scales(convert_dynopool(build(), 'after'), stride2=0.75, stride4=(0.5, 0.25))
    assert model.b.stride == (1, 1)
    stock, image = build(), torch.randn(1, 3, 32, 48)
    y = dynopool2d(F.relu(F.conv2d(image, stock.a.weight, stock.a.bias, padding=1)),
                   (4 / 3, 4 / 3))
    total = kernel - 1  # around, half of it before
    y = F.pad(y, (total // 2, total - total // 2) * 2)
    expected = F.relu(dynopool2d(F.conv2d(y, stock.b.weight, stock.b.bias), (2.0, 4.0)))
    torch.testing.assert_close(model(image), expected, rtol=1e-5, atol=1e-6)


def test_a_reader_that_is_skipped_keeps_its_stride():
    net = Run(lambda m, x: F.relu(m.b(F.relu(m.a(x)))), a=conv(3, 4, 3, 2), b=conv(4, 4, 4, 2, 1))
    assert changes(net, skip='b') == [('a', 'gone'), ('b', 'before')]
    model = set_scales(convert_dynopool(net, 'after', skip='b'), stride2=0.75)
    assert model.b.stride == (2, 2)
    assert model(torch.zeros(1, 3, 32, 48)).shape[2:] == (12, 18)


def test_behind_a_convolution_that_two_activations_read():
    net = Run(lambda m, x: (lambda y: m.b(m.relu(y)) + m.c(m.silu(y)))(m.a(x)),
              a=conv(3, 4, 3, 2), b=conv(4, 4), c=conv(4, 4), relu=nn.ReLU(), silu=nn.SiLU())
    assert changes(net) == [('a', 'behind')]
