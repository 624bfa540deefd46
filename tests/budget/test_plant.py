"""Poolings as a vector, the optimizer's step size, and where a budget settles."""

import math

import pytest
import torch
from torch import nn

from mmseg_dynopool.budget.plant import PoolParameters
from mmseg_dynopool.budget.settle import settle
from mmseg_dynopool.budget.step_size import step_size
from mmseg_dynopool.complexity import ComplexityModel, LayerCost
from mmseg_dynopool.layers import DynOPool, ShapeAdaptor

COST = ComplexityModel([LayerCost('a', 'convolution', 3.0, {'p': (1., 1.), 'q': (0., 1.)}),
                        LayerCost('b', 'convolution', 1.0, {'q': (2., 0.)})],
                       {'p': (0.5, 0.5), 'q': (0.5, 0.25)}, (64, 64))


def pools(**kinds):
    made = dict(p=DynOPool(0.4, bounds=(0.2, 0.8)), q=DynOPool((0.5, 0.3))) | kinds
    return made, PoolParameters(made)


def test_the_vector_is_the_parameters():
    made, parameters = pools(q=ShapeAdaptor(0.6))
    assert parameters.read().tolist() == [2.5, 2.5, made['q'].logit.item()]
    parameters.write_(torch.tensor([3.0, 4.0, 0.0]))
    assert made['p'].alpha.tolist() == [3.0, 4.0] and made['q'].logit.item() == 0.0
    alphas = parameters.alphas(torch.tensor([3.0, 4.0, 0.0]))
    assert alphas['p'].tolist() == [3.0, 4.0]
    assert alphas['q'].tolist() == pytest.approx([1 / 0.625] * 2)  # half-way from 0.25 to 1


def test_slope_is_the_derivative_of_the_logarithm():
    _, parameters = pools(q=ShapeAdaptor(0.6))
    gmacs, slope = parameters.slope(COST.gmacs)
    values = parameters.read().double()
    assert gmacs == COST.gmacs(parameters.alphas(values)).item()
    for i in range(3):
        ends = []
        for sign in (1, -1):
            moved = values.clone()
            moved[i] += sign * 1e-3
            ends.append(COST.gmacs(parameters.alphas(moved)).log().item())
        assert slope[i].item() == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=1e-3)
    assert slope[0] < 0 < slope[2]  # a larger alpha is a smaller map, a larger logit a larger one


def test_limits_are_the_bounds_and_a_frozen_value_its_own():
    made, parameters = pools()
    made['q'].requires_grad_(False)
    low, high = parameters.limits()
    assert low.tolist() == pytest.approx([1 / 0.8, 1 / 0.8, 2.0, 1 / 0.3])
    assert high.tolist() == pytest.approx([5.0, 5.0, 2.0, 1 / 0.3])
    expected = [COST.gmacs(parameters.alphas(values)).item() for values in (high, low)]
    assert list(parameters.reachable(COST.gmacs)) == expected and expected[0] < expected[1]


@pytest.mark.parametrize('wanted, free', [(0.1, [2, 3]), (100.0, [0, 1, 2, 3])])
def test_response_leaves_out_what_stands_at_a_bound(wanted, free):
    """p stands at its highest alpha: it can raise the cost, not lower it."""
    made, parameters = pools()
    parameters.write_(torch.tensor([5.0, 5.0, 2.0, 3.0]))
    optimizer = torch.optim.SGD([dict(params=[made['p'].alpha]),
                                 dict(params=[made['q'].alpha], lr=0.1)], lr=0.5, momentum=0.8)
    found = parameters.response(COST.gmacs, wanted, optimizer)
    gmacs, slope = parameters.slope(COST.gmacs)
    step = torch.tensor([0.5, 0.5, 0.1, 0.1]) / (1 - 0.8)
    expected = gmacs * sum(slope[i]**2 * step[i] for i in free).item()
    assert found.cost == gmacs and found.per_multiplier == pytest.approx(expected, rel=1e-6)
    assert found.inertia == pytest.approx(5.0) and found.normalized is False


def test_the_slowest_parameter_sets_the_inertia():
    made, parameters = pools()
    made['p'].requires_grad_(False)  # moves at once, being at rest
    optimizer = torch.optim.SGD([made['q'].alpha], lr=0.5, momentum=0.8)
    assert parameters.response(COST.gmacs, 1.0, optimizer).inertia == pytest.approx(1 / (1 - 0.8))
    made['p'].requires_grad_(True)
    optimizer.add_param_group(dict(params=[made['p'].alpha], momentum=0.95))
    assert parameters.response(COST.gmacs, 1.0, optimizer).inertia == pytest.approx(1 / (1 - 0.95))


@pytest.mark.parametrize('wanted', [0.6, 0.9, 1.3])
def test_settles_where_the_counted_cost_is_nearest(wanted):
    """Compared with brute force on the line of the cost's gradient: no worse, and close to it."""

    def count(alphas):  # a staircase, as rounded sizes make
        a, b, c, d = alphas.tolist()
        return (round(60 / a) * round(80 / b) + round(60 / c) * round(80 / d)) / 2400

    values = torch.tensor([2.3, 1.9, 2.0, 2.6])
    slope = -torch.tensor([0.2, 0.3, 0.3, 0.1])
    limits = (torch.full((4, ), 1.0), torch.full((4, ), 8.0))
    best = settle(values, slope, limits, count, wanted)

    def miss(alphas):
        return abs(math.log(count(alphas) / wanted))

    direction = -slope / slope.norm()
    line = [(values + d * direction).clamp(*limits) for d in torch.linspace(-4, 16, 20001)]
    assert miss(best) <= min(map(miss, line)) + 1e-12
    nearest = min(line, key=lambda point: (point - best).norm())
    assert ((best / nearest - 1).abs() < 0.05).all()


def test_small_maps_settle_by_single_scales_where_all_together_leap():
    """All sizes round alike here, so that the line's steps are those of all maps at once."""

    def count(alphas):
        sizes = [round(12 / a) for a in alphas.tolist()]
        return sum(a * b for a, b in zip(sizes[::2], sizes[1::2])) / 72

    values, limits = torch.full((4, ), 2.15), (torch.ones(4), torch.full((4, ), 8.0))
    slope = torch.full((4, ), -0.25)
    wanted = count(torch.tensor([2.19, 2.15, 2.15, 2.15]))
    best = settle(values, slope, limits, count, wanted)
    assert abs(math.log(count(best) / wanted)) < 1e-6


def test_step_size_of_optimizers():
    parameter, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    sgd = torch.optim.SGD([dict(params=[other]), dict(params=[parameter], lr=0.1)], lr=1.0,
                          momentum=0.9)
    assert step_size(sgd, parameter) == (pytest.approx(1.0), pytest.approx(10.0), False)
    adam = torch.optim.AdamW([parameter], lr=0.1, weight_decay=0)
    assert step_size(adam, parameter) == (0.0, pytest.approx(10.0), True)  # no step was made
    for _ in range(200):
        before = parameter.detach().clone()
        parameter.grad = torch.full_like(parameter, 0.02)
        adam.step()
    moved = (before - parameter.detach()).abs().mean().item()
    size, inertia, normalized = step_size(adam, parameter)
    assert inertia == pytest.approx(10.0) and normalized
    assert moved / 0.02 == pytest.approx(size, rel=0.01)
    with pytest.raises(ValueError, match='does not hold'):
        step_size(adam, other)
    assert step_size(adam, other.requires_grad_(False)) == (0.0, 1.0, False)
