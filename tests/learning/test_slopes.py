"""Running means of slopes: against numbers that are known."""

import numpy as np
import pytest
from torch import nn

from mmseg_dynopool.layers import DynOPool
from mmseg_dynopool.learning import LearnedScales
from mmseg_dynopool.learning.slopes import SlopeMeans

TRUE = np.array([0.3, -0.2, 1.5, 0.0, -0.7, 0.1])  # by the logarithms of the alphas


def means(count=3, **options):
    return SlopeMeans(LearnedScales(nn.ModuleList(DynOPool() for _ in range(count))), **options)


def fed(found, turns, noise=0.0, true=TRUE, seed=0):
    draw = np.random.default_rng(seed)
    for _ in range(turns):
        found.add(float(true @ found.direction) + noise * draw.standard_normal())
    return found


def test_the_poolings_take_turns_and_axes_go_alike_and_apart():
    found, seen = means(2), []
    for _ in range(5):
        seen.append(found.direction.tolist())
        found.add(0.0)
    assert seen == [[1, 1, 0, 0], [0, 0, 1, 1], [1, -1, 0, 0], [0, 0, 1, -1], [1, 1, 0, 0]]


def test_without_noise_the_means_are_the_slopes_and_the_step_their_share_of_the_usual():
    found = fed(means(), 12)
    assert [-slope.mean for slope in found.axes()] == pytest.approx(TRUE.tolist())
    assert [slope.noise for slope in found.axes()] == pytest.approx([0] * 6, abs=1e-7)
    # One measurement tells of an axis half of what it finds along both.
    halves = [(TRUE[i] + sign * TRUE[i + 1]) / 2 for i in (0, 2, 4) for sign in (1, -1)]
    usual = np.sqrt(np.mean(np.square(halves)))
    np.testing.assert_allclose(found.step(), -TRUE / usual, rtol=1e-6, atol=1e-6)


def test_nothing_moves_before_both_directions_were_measured_twice():
    found = means(1)
    for turn in range(6):
        assert found.step().tolist() == [0, 0] or turn >= 4
        found.add(float(np.array([0.3, 0.1]) @ found.direction))
    assert found.step().tolist() != [0, 0]


def test_noise_is_kept_out_by_its_share():
    """1 - noise^2 / mean^2, each number by itself, with the standard error of the running mean."""
    found = fed(means(), 120, noise=0.4)
    for slope, step, plain in zip(found.axes(), found.step(), fed(
            means(shrink=False), 120, noise=0.4).step()):
        kept = max(0.0, 1 - (slope.noise / slope.mean)**2)
        assert step == pytest.approx(kept * plain, rel=1e-9)
    noise = np.sqrt(np.mean([[s.noise**2 for s in fed(means(), 120, 0.4, seed=k).axes()]
                             for k in range(100)]))
    spread = np.std([[s.mean for s in fed(means(), 120, 0.4, seed=k).axes()] for k in range(400)],
                    axis=0).mean()
    assert noise == pytest.approx(spread, rel=0.1)


def test_pure_noise_moves_little():
    """Of 200 seeds: a third as far as without shrinking, or less."""
    steps = {shrink: np.sqrt(np.mean([np.square(fed(
        means(shrink=shrink), 60, 1.0, 0 * TRUE, seed).step()) for seed in range(200)]))
        for shrink in (True, False)}
    assert steps[True] < 0.6 * steps[False]


def test_what_lies_along_the_costs_gradient_is_left_to_the_projection():
    found = fed(means(), 12)
    normal = np.array([1.0, 2.0, 0.0, -1.0, 0.5, 0.0])
    step = found.step(normal)
    assert step @ normal == pytest.approx(0.0, abs=1e-9)
    whole = found.step()
    np.testing.assert_allclose(step, whole - normal * (whole @ normal) / (normal @ normal),
                               atol=1e-9)
    # And is told: by how much the loss falls if the cost rises by one per cent.
    assert found.per_percent(normal) == pytest.approx(0.01 * TRUE @ normal / (normal @ normal))


def test_a_slope_that_is_known_is_added_as_it_is():
    added = np.arange(6.0)
    found = fed(means(), 12)
    usual = -TRUE[0] / found.step()[0]
    np.testing.assert_allclose(found.step(added=added) - found.step(), -added / usual, atol=1e-9)


def test_what_is_not_finite_is_left_out():
    found = means(1)
    for slope in (0.4, 0.2, float('nan'), 0.2, 0.4, 0.2, float('inf')):
        assert found.add(slope) == np.isfinite(slope)
    assert found.turn == 7
    assert [-s.mean for s in found.axes()] == pytest.approx([0.3, 0.1], abs=0.05)


def test_a_pooling_on_which_the_loss_does_not_depend():
    true = np.array([0.3, -0.2, 0.0, 0.0])
    found = fed(means(2), 8, true=true)
    step = found.step()
    assert np.isfinite(step).all() and step[2:].tolist() == [0, 0] and (step[:2] != 0).all()
    nothing = fed(means(2), 8, true=0 * true)
    assert nothing.step().tolist() == [0] * 4


def test_goes_on_from_its_state():
    found = fed(means(), 17, noise=0.3)
    other = means()
    other.load_state_dict(found.state_dict())
    assert other.step().tolist() == found.step().tolist()
    assert other.direction.tolist() == found.direction.tolist()
