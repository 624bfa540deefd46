"""Sizes of the poolings' outputs and how they follow the scales, beside networks that run."""

import math

import pytest
import torch
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.layers import DynOPool, FixedDynOPool, learned_pools
from mmseg_dynopool.models import DynOPoolHRNet
from support.toy_networks import ToyResNet
from support.toys import hrnet_extra

SHAPE = (128, 192)  # where every size halves without a rest, also once more
BUILD = dict(
    hrnet=lambda: DynOPoolHRNet(hrnet_extra()),
    hrnet_stem=lambda: DynOPoolHRNet(hrnet_extra(channels=(4, 8)), dynopool=dict(stem=True)),
    resnet=lambda: convert_dynopool(ToyResNet()),
    resnet_after=lambda: convert_dynopool(ToyResNet(), 'after'))


def output_sizes(model, shape):
    """``[(pooling, (H, W))]`` of each call in a pass that really runs."""
    sizes, handles = [], []
    for name, pool in learned_pools(model).items():
        handles.append(pool.register_forward_hook(
            lambda _, args, output, name=name: sizes.append((name, tuple(output.shape[2:])))))
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, *shape))
    for handle in handles:
        handle.remove()
    return sizes


def brute_force(model, shape):
    """``{(pooling, size, exponents)}``, by doubling one alpha after the other."""
    start, pools = output_sizes(model, shape), learned_pools(model)
    exponents = [{} for _ in start]
    for name, pool in pools.items():
        alpha = list(pool.read_alpha())
        for axis in (0, 1):
            doubled = [a * (1 + (axis == i)) for i, a in enumerate(alpha)]
            pool.set_alpha_(doubled)
            for by_pool, (_, before), (_, after) in zip(
                    exponents, start, output_sizes(model, shape), strict=True):
                assert before[1 - axis] == after[1 - axis]
                exponent = math.log2(before[axis] / after[axis])
                if exponent:
                    by_pool.setdefault(name, [0.0, 0.0])[axis] = exponent
            pool.set_alpha_(alpha)
    return {(name, size, as_key(by_pool)) for (name, size), by_pool in zip(start, exponents)}


def as_key(exponents):
    return tuple(sorted((name, *pair) for name, pair in exponents.items()))


@pytest.mark.parametrize('name', BUILD)
def test_sizes_and_exponents_are_those_of_a_network_that_runs(name):
    model = BUILD[name]()
    expected = brute_force(model, SHAPE)
    maps = probe_complexity(model, SHAPE).maps()
    assert {(each.pooling, each.size, as_key(each.exponents)) for each in maps} == expected
    assert len(maps) == len(expected) >= len(learned_pools(model))


def test_sizes_are_not_rounded():
    """In closed form: behind the stem's two strides, a product of scales."""
    model = DynOPoolHRNet(hrnet_extra(), dynopool=dict(scale=dict(
        stream1=(0.45, 0.31), stream2=0.73, stream3=(0.2, 0.9))))
    scales = {f'dynopools.{name}': pool.initial_scale for name, pool in model.dynopools.items()}
    maps = probe_complexity(model, (67, 130)).maps()
    assert {tuple(each.exponents) for each in maps} == {tuple(scales)[:i] for i in (1, 2, 3)}
    for each in maps:
        assert set(each.exponents.values()) == {(1.0, 1.0)}
        size = [side / 4 * math.prod(scales[name][axis] for name in each.exponents)
                for axis, side in enumerate((67, 130))]
        # The probe is 64 times as large, and rounds there.
        assert each.size == pytest.approx(size, abs=1 / 64)
        assert all(abs(side - round(side)) > 1 / 64 for side in size)


class Parallel(nn.Module):
    """Two branches of one size, which follow other scales, and a third pooling for both."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.fixed = (DynOPool(), DynOPool(), DynOPool(),
                                              FixedDynOPool(0.25))
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(self.c(self.a(x))), self.conv(self.c(self.b(x))), self.c(self.fixed(
            self.a(self.a(x))))


def test_maps_of_one_pooling_and_size_that_follow_other_scales():
    maps = probe_complexity(Parallel(), SHAPE).maps()
    once, twice = (1.0, 1.0), (2.0, 2.0)
    found = {(each.pooling, each.size, as_key(each.exponents)) for each in maps}
    assert found == {(name, size, as_key(exponents)) for name, size, exponents in (
        ('a', (64, 96), dict(a=once)), ('a', (32, 48), dict(a=twice)),
        ('b', (64, 96), dict(b=once)), ('c', (32, 48), dict(a=once, c=once)),
        ('c', (32, 48), dict(b=once, c=once)), ('fixed', (8, 12), dict(a=twice)),
        ('c', (4, 6), dict(a=twice, c=once)))}
