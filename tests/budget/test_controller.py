"""The budget's controller on known plants, and its bad input."""

import math

import pytest

from mmseg_dynopool.budget import GMACsBudget
from mmseg_dynopool.budget.controller import BudgetController


def simulate(target, force, gain=1.0, iterations=400, momentum=0.9, lr=0.05, power=1):
    """SGD with momentum and poly lr on an alpha in [1, 8] whose cost is (2 / alpha)^power, pushed
    by a task's force.

    Returns the cost relative to the start at each iteration.
    """
    controller = BudgetController(GMACsBudget(target=target))
    alpha, velocity, costs = 2.0, 0.0, []
    for i in range(iterations):
        rate = lr * (1 - i / iterations)**0.9
        cost = gain * (2 / alpha)**power
        slope = -power / alpha
        gradient = controller.multiplier * cost * slope + force(i)
        velocity = momentum * velocity + gradient
        alpha = min(8.0, max(1.0, alpha - rate * velocity))
        cost = gain * (2 / alpha)**power
        sensitivity = cost * (power / alpha)**2
        response = sensitivity * rate / (1 - momentum)
        controller.step((i + 1) / iterations, iterations, cost, gain, response,
                        1 / (1 - momentum), sensitivity=sensitivity)
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


@pytest.mark.parametrize('push', [0.05, 0.08])
@pytest.mark.parametrize('sign', [-1, 1])
def test_comes_back_from_far_off(push, sign):
    """Early the task pushes one way, then the other, on a cost that spans a factor of 4096.

    While the cost is low, the integral learns to push it up. What lifts a low cost would hold a
    high one at its bound: before the integral was scaled by the sensitivity, two of these four
    ended there, at 16 times the target.
    """
    costs = simulate(1.0, lambda i: sign * push * (1 if i < 240 else -1), iterations=800, lr=0.03,
                     power=4)
    assert max(max(costs), 1 / min(costs)) > 1.5
    assert costs[750] == pytest.approx(1, rel=0.02)


def test_the_integral_keeps_its_push():
    """Four times the sensitivity: a quarter of the multiplier, the error being none."""
    controller = BudgetController(GMACsBudget(target=1.0, begin=0.0))
    controller.step(0.6, 1000, 1.0, 1.0, 0.1, 10.0, sensitivity=2.0)
    controller.step(0.6, 1000, 2.0, 1.0, 0.1, 10.0, sensitivity=2.0)
    learned = math.log(2) / (30 * 0.1) / (4 * 30)
    controller.step(0.6, 1000, 1.0, 1.0, 0.4, 10.0, sensitivity=8.0)
    assert controller.multiplier == pytest.approx(learned / 4, rel=1e-12)


def test_the_cost_follows_the_ramp():
    """Half-way between begin (0.1) and reach (0.5) the logarithm has gone half its way."""
    costs = simulate(0.5, lambda i: 0.0)
    assert costs[38] == 1.0
    assert costs[119] == pytest.approx(0.5**0.5, rel=0.02)
    assert costs[199] == pytest.approx(0.5, rel=0.02)


def test_one_step_by_hand():
    """A quarter up the ramp, the cost where it began."""
    controller = BudgetController(GMACsBudget(target=0.5, begin=0.1, reach=0.5))
    controller.step(0.2, 1000, 3.0, 4.0, 0.25, 10.0)
    # The start is the first cost seen, 3; the target 2; wanted now 3 * (2 / 3) ** (1 / 4).
    way = math.log(2 / 3)
    constant = 30.0  # three times the inertia is more than 2 % of the training
    proportional = (-way / 4) / (constant * 0.25)
    integral = proportional / (4 * constant)
    speed = way / (0.4 * 1000)
    assert controller.multiplier == pytest.approx(integral + proportional - speed / 0.25,
                                                  rel=1e-12)
    normalized = BudgetController(GMACsBudget(target=0.5, begin=0.1, reach=0.5))
    normalized.step(0.2, 1000, 3.0, 4.0, 0.25, 10.0, normalized=True)
    assert normalized.multiplier == pytest.approx(proportional - speed / 0.25, rel=1e-12)


def test_the_first_step_is_at_begin_itself():
    controller = BudgetController(GMACsBudget(target=0.5, begin=0.25, reach=0.5))
    controller.step(0.25, 1000, 3.0, 4.0, 0.2, 10.0)
    # No error yet: what is left is the speed of a ramp of 250 iterations from 3 to 2.
    assert controller.multiplier == pytest.approx(-math.log(2 / 3) / 250 / 0.2, rel=1e-12)


def test_an_error_counts_as_one_at_most():
    controller = BudgetController(GMACsBudget(target=1.0, begin=0.0))
    controller.step(0.6, 1000, 1.0, 1.0, 1.0, 1.0)
    assert controller.multiplier == 0
    controller.step(0.6, 1000, 100.0, 1.0, 1.0, 1.0)
    assert controller.multiplier == pytest.approx(1 / 20 + 1 / (20 * 80), rel=1e-12)


def test_only_the_task_loss_acts_at_first():
    controller = BudgetController(GMACsBudget(target=0.5, begin=0.3))
    for i in range(29):
        controller.step((i + 1) / 100, 100, 1.0, 1.0, 0.1, 10)
        assert controller.multiplier == 0
    controller.step(0.35, 100, 1.0, 1.0, 0.0, 10)
    assert controller.multiplier == 0  # nothing answers
    controller.step(0.35, 100, 1.0, 1.0, 0.1, 10)
    assert controller.multiplier > 0


def test_state_resumes_exactly():
    first, second = (BudgetController(GMACsBudget(target=0.6)) for _ in range(2))
    costs = [1 - i / 900 for i in range(400)]
    for i, cost in enumerate(costs[:150]):
        first.step(i / 400, 400, cost, 1.0, 0.2, 10, sensitivity=1 + i)
    second.load_state_dict(first.state_dict(), 150.0)
    for i, cost in enumerate(costs[150:], 150):
        first.step(i / 400, 400, cost, 1.0, 0.2, 10, sensitivity=1 + i)
        second.step(i / 400, 400, cost, 1.0, 0.2, 10, sensitivity=1 + i)
    assert first.state_dict() == second.state_dict()
    assert first.multiplier != 0


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
        GMACsBudget.from_options(options)
    for word in words:
        assert word in str(error.value)


def test_out_of_reach_names_the_range():
    with pytest.raises(ValueError, match=r'0.57 to 7.5 GMACs \(ratio 0.570 to 7.500\)'):
        GMACsBudget(target=0.3).check_reachable(1.0, 0.57, 7.5)
    GMACsBudget(target_gmacs=0.6).check_reachable(1.0, 0.57, 7.5)


def test_the_target_in_gmacs():
    assert GMACsBudget(target=0.6).wanted(5.0) == 3.0
    assert GMACsBudget(target_gmacs=0.6).wanted(5.0) == 0.6
