"""The vector of the scales, its bounds, and where maps set them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mmseg_dynopool.costs import ComplexityModel, LayerCost, probe_complexity
from mmseg_dynopool.layers import DynOPool, FixedDynOPool, ShapeAdaptor
from mmseg_dynopool.learning import LearnedScales

COST = ComplexityModel([LayerCost('a', 'convolution', 3.0, {'p': (1., 1.), 'q': (0., 1.)}),
                        LayerCost('b', 'convolution', 1.0, {'q': (2., 0.)})],
                       {'p': (0.5, 0.5), 'q': (0.5, 0.25)}, (64, 64))


def network(**kinds):
    return nn.ModuleDict(dict(p=DynOPool(0.4, bounds=(0.2, 0.8)), q=DynOPool((0.5, 0.3))) | kinds)


def test_the_vector_is_the_logarithm_of_the_alphas():
    model = network(q=ShapeAdaptor(0.6), fixed=FixedDynOPool(0.3))
    scales = LearnedScales(model)
    assert scales.parts == dict(p=slice(0, 2), q=slice(2, 3))  # one number for both axes
    np.testing.assert_allclose(scales.read(), np.log([2.5, 2.5, 1 / 0.6]), rtol=1e-6)
    scales.write_(np.log([3.0, 4.0, 1 / 0.7]))
    assert model['p'].alpha.tolist() == pytest.approx([3.0, 4.0], rel=1e-6)
    assert model['q'].scale.tolist() == pytest.approx([0.7, 0.7], rel=1e-6)
    alphas = scales.alphas(np.log([3.0, 4.0, 1 / 0.7]))
    assert alphas['p'] == model['p'].alpha.tolist()  # as the parameter holds them, to the last bit
    assert alphas['q'] == pytest.approx([1 / 0.7] * 2)


def test_the_gradient_of_the_cost_is_that_of_its_logarithm():
    scales = LearnedScales(network())
    values = scales.read()
    log, slope = scales.log_cost(COST, values)
    alphas = dict(p=torch.tensor([2.5, 2.5]), q=torch.tensor([2.0, 1 / 0.3]))
    assert log == pytest.approx(math.log(COST(alphas).item()), rel=1e-6)
    for i in range(4):
        up, down = values.copy(), values.copy()
        up[i], down[i] = up[i] + 1e-4, down[i] - 1e-4
        rise = (scales.log_cost(COST, up)[0] - scales.log_cost(COST, down)[0]) / 2e-4
        assert slope[i] == pytest.approx(rise, rel=1e-5) and rise <= 0


def test_a_frozen_pooling_is_no_part_of_it_and_costs_what_it_costs():
    model = network()
    model['q'].requires_grad_(False)
    scales = LearnedScales(model)
    assert list(scales.parts) == ['p'] and scales.limits().low.shape == (2, )
    alphas = dict(p=torch.tensor([2.5, 2.5]), q=torch.tensor([2.0, 1 / 0.3]))
    assert scales.log_cost(COST, scales.read())[0] == pytest.approx(
        math.log(COST(alphas).item()), rel=1e-6)
    scales.start_trial_(np.log([3.0, 3.0]))
    assert model['p'].scale.tolist() == pytest.approx([1 / 3, 1 / 3])
    assert model['q'].scale.tolist() == pytest.approx([0.5, 0.3])


class Chain(nn.Module):
    """Two poolings in a row, on an image of 40 x 96."""

    def __init__(self, **options):
        super().__init__()
        self.first, self.second = DynOPool(0.5, **options), DynOPool(0.25, **options)
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, image):
        return self.conv(self.second(self.first(image)))


def test_no_map_falls_below_two_cells():
    """Heights are 40 -> 20 -> 5, widths 96 -> 48 -> 12: what is left to 2 is a factor each."""
    model = Chain(bounds=(0.01, 1.0))
    scales = LearnedScales(model)
    maps = probe_complexity(model, (40, 96), in_channels=1).maps()
    assert sorted(found.size for found in maps) == [(5.0, 12.0), (20.0, 48.0)]
    limits = scales.limits(maps, smallest=2)
    rows = {tuple(row): most for row, most in zip(limits.rows.tolist(), limits.most.tolist())}
    assert rows == {
        (1.0, 0.0, 0.0, 0.0): pytest.approx(math.log(40 / 2)),
        (0.0, 1.0, 0.0, 0.0): pytest.approx(math.log(96 / 2)),
        (1.0, 0.0, 1.0, 0.0): pytest.approx(math.log(40 / 2)),
        (0.0, 1.0, 0.0, 1.0): pytest.approx(math.log(96 / 2))}


def test_maps_that_are_smaller_already_are_told_and_left_alone():
    model = Chain()
    scales = LearnedScales(model)
    maps = probe_complexity(model, (12, 96), in_channels=1).maps()  # heights 6 and 1.5
    assert scales.small_maps(maps, 2) == ['second (1.5 rows)']
    rows = scales.limits(maps, smallest=2).rows.tolist()
    assert [1.0, 0.0, 1.0, 0.0] not in rows and [0.0, 1.0, 0.0, 1.0] in rows
    assert len(scales.limits(maps, smallest=1).rows) == 4


def test_a_frozen_pooling_above_counts_for_the_size():
    model = Chain(bounds=(0.01, 1.0))
    model.first.set_alpha_([4.0, 4.0])
    model.first.requires_grad_(False)
    scales = LearnedScales(model)
    limits = scales.limits(probe_complexity(model, (40, 96), in_channels=1).maps(), smallest=2)
    assert {tuple(r): m for r, m in zip(limits.rows.tolist(), limits.most.tolist())} == {
        (1.0, 0.0): pytest.approx(math.log(10 / 2)), (0.0, 1.0): pytest.approx(math.log(24 / 2))}
