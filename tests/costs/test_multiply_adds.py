"""Multiply-adds: counted, and predicted at any scales."""

import math
import random

import pytest
import torch
from torch import nn

from mmseg_dynopool.costs import GMACsCounter, count_gmacs, probe_complexity
from mmseg_dynopool.costs.summary import summarize
from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d, FixedDynOPool, ShapeAdaptor


class Twice(nn.Module):
    """One instance twice in a row, another on one axis' side, and a linear layer at the end."""

    def __init__(self):
        super().__init__()
        self.a, self.b = DynOPool(0.5), DynOPool((0.5, 0.8))
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = DynOPoolConv2d(self.a, 8, 8, 3, shared=True, padding=1)
        self.second = DynOPoolConv2d(self.a, 8, 8, 3, shared=True, padding=1)
        self.third = DynOPoolConv2d(self.b, 8, 8, 1, shared=True)
        self.linear = nn.Linear(8, 4)

    def forward(self, x):
        x = self.third(self.second(self.first(self.stem(x))))
        return self.linear(x.mean((2, 3)))


def test_count_by_hand():
    net = Twice()
    pixels = 64 * 80
    macs = pixels * 3 * 8 * 9
    macs += pixels / 4 * (8 * 8 * 9 + 16 * 8)
    macs += pixels / 16 * (8 * 8 * 9 + 16 * 8)
    macs += 8 * 16 * (8 * 8 + 16 * 8)
    macs += 8 * 4
    assert count_gmacs(net, (64, 80)) * 1e9 == pytest.approx(macs)


def test_exponents_of_one_instance_twice_in_a_row():
    for shape in ((64, 80), (18, 10)):  # also where maps are so small that rounding tells
        by_module = {layer.module: layer.exponents
                     for layer in probe_complexity(Twice(), shape).layers
                     if layer.op != 'dynopool'}
        assert by_module == {
            'stem': {}, 'first': {'a': (1, 1)}, 'second': {'a': (2, 2)},
            'third': {'a': (2, 2), 'b': (1, 1)}, 'linear': {}}, shape


class Padded(nn.Module):
    """Pools, then adds rows of zeros whose number no scale changes."""

    def __init__(self):
        super().__init__()
        self.pool, self.conv = DynOPool(), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(nn.functional.pad(self.pool(x), (0, 0, 0, 2048)))


def test_an_exponent_that_is_no_whole_number():
    """Of the enlarged probe rows 2048 + 2048 become 1024 + 2048 when the scale is halved."""
    conv, = (layer for layer in probe_complexity(Padded(), (64, 80)).layers
             if layer.op != 'dynopool')
    assert conv.exponents['pool'] == (pytest.approx(math.log2(4 / 3)), 1.0)


def test_a_pooling_that_is_fixed_is_no_variable():
    net = Twice()
    net.b = net.third.pool = FixedDynOPool((0.5, 0.8))
    model = probe_complexity(net, (64, 80))
    assert model.initial_scales == {'a': (0.5, 0.5)}
    assert model.initial == pytest.approx(count_gmacs(net, (64, 80)))
    with torch.no_grad():
        net.a.alpha.fill_(4.0)
    assert model.gmacs({'a': net.a.alpha}).item() == pytest.approx(count_gmacs(net, (64, 80)))


class Branching(nn.Module):
    """Convolves once more where ``often(self, its pooled map)``."""

    def __init__(self, often):
        super().__init__()
        self.often = often
        self.pool, self.conv, self.more = DynOPool(), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.conv(self.pool(x))
        return self.more(x) if self.often(self, x) else x


@pytest.mark.parametrize('often, name', [
    (lambda net, x: x.shape[2] > 100, 'none'),  # in the enlarged probes alone
    (lambda net, x: x.shape[2] == 1024, 'pool')])  # in one of these, where a scale is halved
def test_operators_that_depend_on_the_size_are_refused(often, name):
    with pytest.raises(RuntimeError, match=fr'probed instance: {name}\)'):
        probe_complexity(Branching(often), (64, 80))


class Limited(Twice):
    """Takes no image of many pixels, such as the enlarged one of a probe."""

    def forward(self, x):
        if x.shape[2] > 64:
            raise ValueError('too large')
        return super().forward(x)


def test_a_network_that_takes_no_enlarged_image_is_probed_at_the_image():
    limited, model = (probe_complexity(net(), (64, 80)) for net in (Limited, Twice))
    assert limited.layers == model.layers


def test_what_is_counted_is_the_evaluation():
    net = Branching(lambda net, x: net.training).train()
    assert count_gmacs(net, (64, 80)) * 1e9 == pytest.approx(32 * 40 * (3 * 3 + 3 * 16))
    assert net.training


def test_a_network_in_half_precision_costs_the_same():
    assert count_gmacs(Twice().half(), (64, 80)) == count_gmacs(Twice(), (64, 80))


@pytest.mark.parametrize('pool, macs', [(DynOPool(), 16), (FixedDynOPool(), 16),
                                        (ShapeAdaptor(), 2 * 4 + 2)])
def test_cost_of_a_pooling_by_hand(pool, macs):
    """Four queries of four pixels; two reads of four pixels, and the mix of the two."""
    net = DynOPoolConv2d(pool, 3, 4, 1)
    assert count_gmacs(net, (64, 80)) * 1e9 == pytest.approx(32 * 40 * (3 * 4 + 3 * macs))


def test_prediction_equals_the_count_at_random_scales():
    net = Twice()
    model = probe_complexity(net, (512, 1024))
    rng = random.Random(0)
    for _ in range(50):
        with torch.no_grad():
            for pool in (net.a, net.b):
                pool.alpha.copy_(torch.tensor([rng.uniform(1, 4), rng.uniform(1, 4)]))
        predicted = model.gmacs({'a': net.a.alpha, 'b': net.b.alpha}).item()
        assert predicted == pytest.approx(count_gmacs(net, (512, 1024)), rel=0.02)


def test_gradient_is_the_finite_difference():
    model = probe_complexity(Twice(), (64, 80))
    alphas = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True)
              for n, v in (('a', [2.3, 1.9]), ('b', [1.7, 3.1]))}
    assert torch.autograd.gradcheck(
        lambda a, b: model.gmacs({'a': a, 'b': b}) * 1e3, tuple(alphas.values()))


def test_probing_leaves_no_trace():
    net = Twice()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.train()
    probe_complexity(net, (64, 80))
    assert net.training and net.a.bounds == (0.125, 1.0)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_prediction_starts_at_the_initial_scales_whatever_alpha_is_now():
    net = Twice()
    start = count_gmacs(net, (64, 80))
    with torch.no_grad():
        net.a.alpha.fill_(3.0)
    model = probe_complexity(net, (64, 80))
    assert model.initial == model.initial_gmacs == pytest.approx(start)


@pytest.mark.parametrize('net, shape, words', [
    (nn.Conv2d(3, 3, 1), (8, 8), ['Conv2d', 'no DynOPool']),
    (Twice(), (8, ), ['shape', '(8,)']),
    (Twice(), (0, 8), ['shape', '(0, 8)']),
])
def test_bad_input_is_named(net, shape, words):
    with pytest.raises(ValueError) as error:
        probe_complexity(net, shape)
    for word in words:
        assert word in str(error.value)


def test_hooks_of_the_network_see_no_probe(tmp_path):
    """They may count images, and hold what cannot be copied, such as an open file."""

    class Note:

        def __init__(self, file):
            self.file = file

        def __call__(self, *args):
            self.file.write('seen')

    net = Twice()
    with (tmp_path / 'notes.txt').open('w') as file:
        note = Note(file)
        net.first.register_forward_hook(note)
        net.third.register_forward_pre_hook(note)
        probe_complexity(net, (64, 80))
        count_gmacs(net, (64, 80))
        file.flush()
        assert (tmp_path / 'notes.txt').read_text() == ''
        net(torch.rand(1, 3, 64, 80))
    assert (tmp_path / 'notes.txt').read_text() == 'seenseen'


class TwoBackbones(nn.Module):

    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.ModuleDict(dict(dynopools=nn.ModuleDict(dict(p=DynOPool(scale))),
                                             conv=nn.Conv2d(3, 4, 1))) for scale in (0.5, 0.25))

    def forward(self, x):
        return [net['conv'](net['dynopools']['p'](x)) for net in (self.a, self.b)]


def test_summary_tells_pools_of_one_short_name_apart():
    result = summarize(TwoBackbones(), (64, 80))
    assert {name: row['output_size'] for name, row in result['instances'].items()} == {
        'a.dynopools.p': [32, 40], 'b.dynopools.p': [16, 20]}
    gmacs = {name: row['gmacs'] for name, row in result['by_resolution'].items()}
    assert gmacs == pytest.approx({'a.dynopools.p': 32 * 40 * (12 + 3 * 16) / 1e9,
                                   'b.dynopools.p': 16 * 20 * (12 + 3 * 16) / 1e9})


def test_summary_counts_at_the_scales_of_now():
    net = Twice()
    with torch.no_grad():
        net.a.alpha.fill_(4.0)
    rows = summarize(net, (64, 80))['by_module']
    assert rows['first'] == pytest.approx(dict(
        gmacs=16 * 20 * 8 * 8 * 9 / 1e9, stock_gmacs=32 * 40 * 8 * 8 * 9 / 1e9))


@pytest.mark.parametrize('pool, scales', [(DynOPool(), 2), (ShapeAdaptor(), 1),
                                          (FixedDynOPool(), 0)])
def test_parameters_of_the_stock_network(pool, scales):
    net = DynOPoolConv2d(pool, 3, 4, 3)
    result = summarize(net, (64, 80))
    assert result['stock_params'] == 3 * 4 * 9 + 4
    assert result['params'] == result['stock_params'] + scales


def test_one_counter_at_many_alphas():
    net = Twice()
    counter = GMACsCounter(net, (64, 80))
    start = counter.gmacs()
    for alphas in (dict(a=(3.0, 2.0)), dict(a=(2.0, 2.0), b=(1.5, 4.0)), {}):
        with torch.no_grad():
            for name, alpha in alphas.items():
                getattr(net, name).alpha.copy_(torch.tensor(alpha))
        assert counter.gmacs(alphas) == count_gmacs(net, (64, 80)) != start
