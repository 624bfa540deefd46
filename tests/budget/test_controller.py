"""The budget's controller on known plants, and its bad input."""

import math

import pytest
import torch
from torch import nn

from mmseg_dynopool.budget.controller import GMACsBudget, step_size


def simulate(target, force, gain=1.0, iterations=400, momentum=0.9, lr=0.05, budget=None):
    """SGD with momentum and poly lr on an alpha in [1, 8] whose cost is 2 / alpha, pushed by a
    task's force.

    Returns the cost relative to the start at each iteration.
    """
    budget = budget or GMACsBudget(1, target=target)
    alpha, velocity, costs = 2.0, 0.0, []
    for i in range(iterations):
        rate = lr * (1 - i / iterations)**0.9
        cost = 2 * gain / alpha
        slope = -1 / alpha
        gradient = budget.multiplier.item() * cost * slope + force(i)
        velocity = momentum * velocity + gradient
        alpha = min(8.0, max(1.0, alpha - rate * velocity))
        cost = 2 * gain / alpha
        response = cost * alpha**-2 * rate / (1 - momentum)
        budget.step((i + 1) / iterations, iterations, cost, gain, response, 1 / (1 - momentum))
        costs.append(cost / gain)
    return costs


@pytest.mark.parametrize('target', [0.5, 0.75, 1.4])
@pytest.mark.parametrize('gain', [1e-3, 0.46, 187.0])
@pytest.mark.parametrize('push', [-0.02, 0.0, 0.002, 0.02])
def test_meets_the_target_whatever_the_units_and_the_task(target, gain, push):
    costs = simulate(target, lambda i: push, gain)
    assert costs[340] == pytest.approx(target, rel=0.02)


@pytest.mark.parametrize('lr, momentum, iterations', [(0.008, 0.9, 2000), (0.05, 0.0, 400),
                                                      (0.2, 0.95, 600)])
def test_meets_the_target_at_other_learning_rates(lr, momentum, iterations):
    costs = simulate(0.6, lambda i: 0.01 * math.sin(i), 1.0, iterations, momentum, lr)
    assert costs[int(0.85 * iterations)] == pytest.approx(0.6, rel=0.02)


def test_the_task_speaks_first():
    budget = GMACsBudget(1, target=0.5, begin=0.3)
    for i in range(29):
        budget.step((i + 1) / 100, 100, 1.0, 1.0, 0.1, 10)
        assert budget.multiplier == 0
    budget.step(0.35, 100, 1.0, 1.0, 0.1, 10)
    assert budget.multiplier > 0


def test_state_resumes_exactly():
    whole = GMACsBudget(1, target=0.6)
    simulate(0.6, lambda i: 0.01, budget=whole)
    first, second = GMACsBudget(1, target=0.6), GMACsBudget(1, target=0.6)
    costs = [1 - i / 900 for i in range(400)]
    for i, cost in enumerate(costs[:150]):
        first.step(i / 400, 400, cost, 1.0, 0.2, 10)
    second.load_state_dict(first.state_dict())
    for i, cost in enumerate(costs[150:], 150):
        first.step(i / 400, 400, cost, 1.0, 0.2, 10)
        second.step(i / 400, 400, cost, 1.0, 0.2, 10)
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), second.buffers()))
    assert first.multiplier != 0


def test_settles_where_the_counted_cost_is_nearest():
    budget = GMACsBudget(2, target=0.5)
    limits = (torch.full((2, 2), 1.0), torch.full((2, 2), 8.0))

    def count(alphas):  # a staircase, as rounded sizes make
        return sum(round(60 / a) * round(80 / b) for a, b in alphas.tolist()) / 2400

    alphas = torch.tensor([[2.3, 1.9], [2.0, 2.6]])
    slope = -torch.tensor([[0.2, 0.3], [0.3, 0.1]])
    best = budget.settle_alphas(alphas, slope, limits, count, 0.9)
    assert count(best) == pytest.approx(0.9, rel=0.02)
    assert budget.settled and torch.equal(budget.settled_alphas, best)
    assert (best >= 1).all() and (best <= 8).all()


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


@pytest.mark.parametrize('options, words', [
    ({}, ['target']),
    (dict(target=0), ['target', '0']),
    (dict(target=-0.5), ['-0.5']),
    (dict(target=float('nan')), ['nan']),
    (dict(target='half'), ["'half'"]),
    (dict(target=0.5, target_gmacs=10.), ['either', '10.0']),
    (dict(target_gmacs=-3), ['target_gmacs', '-3']),
    (dict(target=0.5, begin=0.6), ['begin', '0.6']),
    (dict(target=0.5, settle=1.0), ['settle', '1.0']),
    (dict(target=0.5, ramp=3), ['ramp', 'reach']),
])
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError) as error:
        GMACsBudget.from_options(options, 3)
    for word in words:
        assert word in str(error.value)


def test_out_of_reach_names_the_range():
    with pytest.raises(ValueError, match=r'0.57 to 7.5 GMACs \(ratio 0.570 to 7.500\)'):
        GMACsBudget(3, target=0.3).check_reachable(1.0, 0.57, 7.5)
    GMACsBudget(3, target_gmacs=0.6).check_reachable(1.0, 0.57, 7.5)
