"""The nearest scales of a wanted cost, against scipy's solver and brute force."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from mmseg_dynopool.learning.projection import nearest, project, reachable
from mmseg_dynopool.learning.scales import Limits


def random_case(seed):
    """A posynomial of up to eight scales, bounds, rows, and a point inside all of them."""
    draw = np.random.default_rng(seed)
    n, terms = draw.integers(1, 9), draw.integers(1, 8)
    exponents = -draw.integers(0, 3, (terms, n)).astype(float)
    exponents[0, 0] = -1
    factors = draw.uniform(0.1, 1, terms)

    def log_cost(v):
        parts = factors * np.exp(exponents @ v)
        return math.log(parts.sum()), parts @ exponents / parts.sum()

    low, high = draw.uniform(-1.5, -0.2, n), draw.uniform(0.2, 1.5, n)
    point = draw.uniform(low, high)
    rows = draw.integers(0, 2, (draw.integers(0, 3), n)).astype(float)
    rows = rows[rows.any(1)]
    limits = Limits(low, high, rows, rows @ point + draw.uniform(0, 1, len(rows)))
    return log_cost, point, limits, draw


def solved(log_cost, point, limits, wanted, start):
    """By scipy: the distance squared, or None where it fails."""
    constraints = [dict(type='eq', fun=lambda v: log_cost(v)[0] - math.log(wanted),
                        jac=lambda v: log_cost(v)[1])]
    if len(limits.rows):
        constraints.append(dict(type='ineq', fun=lambda v: limits.most - limits.rows @ v))
    found = minimize(lambda v: ((v - point) @ (v - point), 2 * (v - point)), start, jac=True,
                     method='SLSQP', bounds=list(zip(limits.low, limits.high)),
                     constraints=constraints, options=dict(ftol=1e-14, maxiter=500))
    return found.fun if found.success else None


@pytest.mark.parametrize('seed', range(40))
def test_nearest_as_the_solver_finds_it(seed):
    log_cost, point, limits, draw = random_case(seed)
    lowest = reachable(point, log_cost, limits)[0]
    here = math.exp(log_cost(point)[0])
    wanted = math.exp(draw.uniform(math.log(lowest), math.log(here)))  # the cost has to fall
    found = project(point, log_cost, wanted, limits)
    assert log_cost(found)[0] == pytest.approx(math.log(wanted), abs=1e-7)
    assert (found >= limits.low - 1e-9).all() and (found <= limits.high + 1e-9).all()
    assert (limits.rows @ found <= limits.most + 1e-7).all()
    expected = solved(log_cost, point, limits, wanted, found)
    distance = (found - point) @ (found - point)
    assert expected is None or distance == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_few_rounds_do():
    def counted(v):
        rounds.append(v)
        return log_cost(v)

    needed = []
    for seed in range(40):
        log_cost, point, limits, _ = random_case(seed)
        rounds = []
        project(point, counted, 0.9 * math.exp(log_cost(point)[0]), limits)
        needed.append(len(rounds))
    assert max(needed) <= 10


@pytest.mark.parametrize('seed', range(40))
def test_a_small_rise_is_the_nearest_too(seed):
    """As a plan asks for: a larger cost, within a few per cent. Far away there may be several."""
    log_cost, point, limits, _ = random_case(seed)
    highest = reachable(point, log_cost, limits)[1]
    wanted = min(1.05 * math.exp(log_cost(point)[0]), highest)
    found = project(point, log_cost, wanted, limits)
    assert log_cost(found)[0] == pytest.approx(math.log(wanted), abs=1e-7)
    expected = solved(log_cost, point, limits, wanted, found)
    distance = (found - point) @ (found - point)
    assert expected is None or distance == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_reachable_is_what_brute_force_finds():
    for seed in range(12):
        log_cost, point, limits, draw = random_case(seed)
        lowest, highest = reachable(point, log_cost, limits)
        tried = draw.uniform(limits.low, limits.high, (4000, len(point)))
        allowed = tried[(tried @ limits.rows.T <= limits.most).all(1)]
        costs = [math.exp(log_cost(v)[0]) for v in allowed]
        assert lowest <= min(costs) * (1 + 1e-9) and max(costs) <= highest * (1 + 1e-9)
        # And it is taken on: the projection goes there.
        for wanted in (lowest, highest):
            ends = project(point, log_cost, wanted, limits)
            assert math.exp(log_cost(ends)[0]) == pytest.approx(wanted, rel=1e-5)
            assert (limits.rows @ ends <= limits.most + 1e-6).all()


def test_nearest_on_a_plane_in_closed_form():
    point, normal = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0])
    free = Limits(np.full(3, -9.0), np.full(3, 9.0), np.zeros((0, 3)), np.zeros(0))
    expected = point - normal * (normal @ point - 2) / 9
    np.testing.assert_allclose(nearest(point, free, normal, 2.0), expected, atol=1e-9)
    # With the second number at its bound the others move further, in the same proportion.
    held = free._replace(low=np.array([-9.0, 2.0, -9.0]))
    rest = np.array([1.0, 0.0, 2.0])
    expected = point - rest * (normal @ point - 2) / 5
    np.testing.assert_allclose(nearest(point, held, normal, 2.0), expected, atol=1e-9)
    assert nearest(point, free._replace(low=point), normal, 2.0) is None


def test_all_scales_at_their_bounds():
    log_cost, _, limits, _ = random_case(3)
    limits = limits._replace(rows=limits.rows[:0], most=limits.most[:0])
    lowest, highest = reachable(limits.low, log_cost, limits)
    for start, wanted in ((limits.low, highest), (limits.low, lowest), (limits.high, lowest),
                          (limits.high, highest)):
        found = project(start, log_cost, wanted, limits)
        assert math.exp(log_cost(found)[0]) == pytest.approx(wanted, rel=1e-6)
    # Beyond reach: as near as there is.
    found = project(limits.low, log_cost, lowest / 2, limits)
    assert math.exp(log_cost(found)[0]) == pytest.approx(lowest, rel=0.05)
