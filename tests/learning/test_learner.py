"""The learner in loops whose losses are known."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_dynopool.costs import ComplexityModel, LayerCost, probe_complexity
from mmseg_dynopool.layers import DynOPool, ImageResize, ShapeAdaptor
from mmseg_dynopool.learning import (
    BudgetKeeper,
    LearnedScales,
    ScaleLearner,
    add_cost_gradient,
)
from mmseg_dynopool.learning.learner import step_weights


class Net(nn.Module):
    """Three poolings in a row, each before a convolution, on images of 64 x 96."""

    shape = (64, 96)

    def __init__(self, **options):
        super().__init__()
        self.pools = nn.ModuleDict({name: DynOPool(0.5, **options) for name in 'abc'})
        self.convs = nn.ModuleList(nn.Conv2d(n, m, 3, padding=1) for n, m in
                                   ((1, 4), (4, 8), (8, 8)))
        self.norm = nn.BatchNorm2d(8)

    def forward(self, image):
        for pool, conv in zip(self.pools.values(), self.convs):
            image = conv(pool(image))
        return self.norm(image)


def cost_of(model):
    return probe_complexity(model, Net.shape, in_channels=1)


def known_loss(model, slopes, noise=0.0):
    """Linear in log(alpha), as the poolings use it."""
    def loss():
        logs = torch.cat([pool.bounded_alpha().log() for pool in model.pools.values()])
        return (torch.tensor(slopes) * logs).sum() + noise * torch.randn(())
    return loss


SLOPES = [0.3, -0.2, 0.5, 0.1, -0.4, 0.2]


def run(learner, loss, steps, after=lambda step: None):
    for step in range(steps):
        with learner.step(loss):
            pass
        after(step)


def test_the_smooth_cost_follows_the_plan_in_every_step_and_ends_at_the_target():
    torch.manual_seed(0)
    model = Net()
    cost = cost_of(model)
    learner = ScaleLearner(model, 100, cost, 0.6, travel=3.0)
    ratios, known = [], known_loss(model, SLOPES, 0.3)

    def note(step):
        alphas = {name: pool.alpha.detach().double() for name, pool in (
            (f'pools.{n}', p) for n, p in model.pools.items())}
        ratios.append(cost(alphas).item() / cost.initial)

    run(learner, known, 100, note)
    wanted = [math.exp(math.log(0.6) * min(1, max(0, (t - 0.1) / 0.4)))
              for t in np.arange(1, 101) / 100]
    assert ratios[:84] == pytest.approx(wanted[:84], rel=1e-4)
    counted = cost.counted(model)({f'pools.{n}': p.alpha.tolist() for n, p in model.pools.items()})
    assert counted / cost.counted(Net())({}) == pytest.approx(0.6, rel=0.02)
    assert ratios[84:] == [ratios[84]] * 16 and learner.settled  # at 0.85


def test_a_lasting_slope_moves_a_scale_by_travel():
    """Where both sides of each pair tell the same: the way of the usual slope of an estimate."""
    model = Net(bounds=(1e-4, 1.0))
    for pool in model.pools.values():
        pool.set_alpha_([50.0, 50.0])
    learner = ScaleLearner(model, 400, travel=0.5, jitter=0.0, settle=0.99)
    learner.slopes.shrink = False
    start = learner.values.copy()
    slopes = [0.3, 0.0, 0.3, 0.0, 0.3, 0.0]  # each estimate tells of an axis half of it, so twice
    run(learner, known_loss(model, slopes), 400)
    weights = step_weights(400, 2, 0.99)
    moving = sum(w for step, w in weights.items() if step > 2 * 3 * 4)  # after four rounds
    moved = (start - learner.values)[::2]
    assert moved == pytest.approx([2 * 0.5 * moving] * 3, rel=0.05)
    np.testing.assert_allclose((start - learner.values)[1::2], 0, atol=1e-4)


def end_of(factor, steps):
    """Where a known loss that is multiplied by ``factor`` leads."""
    model = Net()
    learner = ScaleLearner(model, steps, cost_of(model), 0.7, travel=0.5, every=1)
    run(learner, known_loss(model, [factor * s for s in SLOPES]), steps)
    return learner.values


@pytest.fixture(scope='module')
def usual_end():
    return end_of(1.0, 150)


@pytest.mark.parametrize('scale', [1e-3, 1.0, 1e4])
@pytest.mark.parametrize('steps', [150, 300])
def test_nothing_depends_on_the_size_of_the_loss_nor_much_on_the_length(usual_end, scale, steps):
    np.testing.assert_allclose(usual_end, end_of(scale, steps), atol=1e-3 if steps == 150 else 0.1)
    assert np.abs(usual_end - math.log(2)).max() > 0.2


@pytest.mark.parametrize('every', [1, 2, 3, 7])
def test_the_shares_of_the_travel_sum_to_one(every):
    weights = step_weights(100, every, 0.85)
    assert sum(weights.values()) == pytest.approx(1.0)
    assert list(weights) == [step for step in range(1, 85) if step % every == 0]
    values = list(weights.values())
    assert values[0] / values[-1] == pytest.approx(
        ((1 - every / 100) / (1 - max(weights) / 100))**0.9)


def scales_in_use(model):
    return [pool.scale.tolist() for pool in model.pools.values()]


def test_passes_run_around_the_scales_and_nothing_else_sees_it():
    model = Net()
    learner = ScaleLearner(model, 1000, jitter=0.1, every=10**6, seed=5)
    held = scales_in_use(model)
    drawn = []
    for _ in range(200):
        with learner.step(lambda: 0.0):
            drawn.append(np.log(scales_in_use(model)).ravel() - np.log(held).ravel())
            assert model.pools['a'].alpha.tolist() == [2.0, 2.0]
            assert copy.deepcopy(model).pools['a'].scale.tolist() == [0.5, 0.5]
            assert pickle.loads(pickle.dumps(model.pools['b'])).scale.tolist() == [0.5, 0.5]
            model.eval()
            assert scales_in_use(model) == held
            model.train()
        assert scales_in_use(model) == held
    drawn = np.array(drawn)
    assert np.abs(drawn).max() == pytest.approx(0.2, abs=1e-6)  # cut at two deviations
    # Of a normal distribution that is cut so.
    assert drawn.std() == pytest.approx(0.1 * 0.9594, rel=0.05)
    assert abs(drawn.mean()) < 0.01
    learner.done = 499
    with learner.step(lambda: 0.0):
        assert scales_in_use(model) != held
    with learner.step(lambda: 0.0):
        assert scales_in_use(model) == held  # for the second half of the training
    again = ScaleLearner(Net(), 1000, jitter=0.1, every=10**6, seed=6)
    with again.step(lambda: 0.0):
        assert not np.allclose(np.log(scales_in_use(again.model)).ravel() - np.log(held).ravel(),
                               drawn[0])


def test_an_error_leaves_the_scales_as_they_were():
    model = Net()
    learner = ScaleLearner(model, 10, jitter=0.1)
    with pytest.raises(RuntimeError, match='of the training'), learner.step(lambda: 0.0):
        assert model.pools['a'].scale.tolist() != [0.5, 0.5]
        raise RuntimeError('of the training')
    assert scales_in_use(model) == [[0.5, 0.5]] * 3 and learner.done == 0
    learner.every = 1

    def fails():
        raise RuntimeError('of the loss')

    measuring = ScaleLearner(model, 10, every=1)
    with pytest.raises(RuntimeError, match='of the loss'), measuring.step(fails):
        pass
    assert [pool.alpha.tolist() for pool in model.pools.values()] == [[2.0, 2.0]] * 3


def test_whatever_an_optimizer_does_is_overwritten():
    torch.manual_seed(0)
    model = Net()
    image = torch.rand(2, 1, *Net.shape)
    learner = ScaleLearner(model, 60, cost_of(model), 0.8)
    wild = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)

    def loss():
        return model(image).square().mean()

    for _ in range(60):
        with learner.step(loss):
            wild.zero_grad()
            loss().backward()
            assert all(p.alpha.grad.tolist() == [0, 0] for p in model.pools.values())
            wild.step()
            assert model.pools['a'].alpha.tolist() != np.exp(learner.values[:2]).tolist()
        assert model.pools['a'].alpha.tolist() == np.exp(learner.values[:2]).astype('f').tolist()


def test_passes_leave_running_statistics_and_random_numbers_alone():
    torch.manual_seed(0)
    model, image = Net(), torch.rand(2, 1, *Net.shape)
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    learner = ScaleLearner(model, 10, every=1)
    learner.measure(lambda: F.dropout(model(image)).square().mean())
    assert learner.slopes.turn == 1
    assert torch.equal(random, torch.get_rng_state())
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert all(p.grad is None for p in model.parameters())


def test_the_pair_of_an_image_in_coarse_steps_has_two_sizes():
    """72 columns in steps of 32: at 10 % more and less both would be 64."""
    model = nn.Sequential(ImageResize(multiple=32), nn.Conv2d(1, 4, 3, padding=1))
    cost = probe_complexity(model, (224, 72), in_channels=1)
    learner, widths = ScaleLearner(model, 10, cost, 0.5, every=1), []

    def loss():
        widths.append(model(torch.zeros(1, 1, 224, 72)).shape[3])
        return float(widths[-1])

    for _ in range(6):
        learner.measure(loss)
        learner.advance()
    assert widths[:2] == [64, 96]
    assert learner.slopes.axes()[1].mean > 0


def central_difference(model, image, direction, step=0.05):
    """Of the loss, by hand."""
    losses = []
    for sign in (1, -1):
        moved = copy.deepcopy(model)
        for pool, part in zip(moved.pools.values(), direction.reshape(3, 2)):
            pool.set_alpha_(pool.alpha * torch.tensor(np.exp(sign * step * part)).float())
        with torch.no_grad():
            losses.append(moved(image).square().mean().item())
    return (losses[0] - losses[1]) / (2 * step)


def test_the_estimates_are_central_differences():
    from mmseg_dynopool.learning import TwoPasses
    torch.manual_seed(0)
    model, image = Net(), torch.rand(2, 1, *Net.shape)
    model.norm = nn.Identity()
    learner = ScaleLearner(model, 100, every=1, jitter=0.0, travel=0.0,
                           estimator=TwoPasses(0.05))
    for _ in range(6):
        direction = learner.slopes.direction.copy()
        expected = central_difference(model, image, direction)
        found = learner.estimator(model, lambda: model(image).square().mean(), learner.scales,
                                  learner.values, direction, learner.limits, 0)
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)
        with learner.step(lambda: model(image).square().mean()):
            pass


def test_the_pair_stays_inside_the_bounds():
    seen = []
    model = Net(bounds=(0.3, 0.5))  # the scales begin at a bound

    def loss():
        seen.append([pool.alpha.tolist() for pool in model.pools.values()])
        return 0.0

    learner = ScaleLearner(model, 30, every=1, jitter=0.0)
    run(learner, loss, 12)
    assert np.array(seen).min() == pytest.approx(2.0, rel=1e-6)
    pairs = np.log(np.array(seen)).reshape(-1, 2, 6)
    moved = np.abs(pairs[:, 0] - pairs[:, 1]).sum(1)
    assert moved == pytest.approx([0.4] * len(moved), rel=1e-4)  # two axes by twice 0.1


@pytest.mark.parametrize('bad, skipped', [((0, ), 1), ((0, 1), 1), ((3, ), 1)])
def test_a_loss_that_is_not_finite_is_skipped_and_counted(bad, skipped, caplog):
    calls = []

    def loss():
        calls.append(0)
        return math.nan if len(calls) - 1 in bad else 1.0

    learner = ScaleLearner(Net(), 100)
    run(learner, loss, 20)
    assert learner.skipped == skipped and len(calls) == 20 and learner.slopes.turn == 10
    assert [r.message for r in caplog.records if 'not finite' in r.message] != []


def test_a_loss_that_is_never_finite_is_an_error():
    learner = ScaleLearner(Net(), 1000)
    with pytest.raises(FloatingPointError, match=r'step 40: .* in 20 estimates'):
        run(learner, lambda: math.inf, 100)


@pytest.mark.parametrize('steps, given, jitter', [
    (499, None, 0.0), (500, None, 0.1), (100, 0.2, 0.2), (1000, 0.0, 0.0)])
def test_short_trainings_have_no_jitter_by_default(steps, given, jitter):
    assert ScaleLearner(Net(), steps, jitter=given).jitter == jitter


@pytest.mark.parametrize('steps, given, every', [
    (300, None, 2), (2000, None, 2), (2001, None, 3), (3999, None, 4), (80_000, None, 80),
    (3999, 2, 2)])
def test_long_trainings_have_at_most_a_thousand_estimates_by_default(steps, given, every):
    turns = []

    def note(model, loss, scales, values, direction, limits, turn):
        turns.append(turn)
        return 0.

    learner = ScaleLearner(Net(), steps, every=given, estimator=note)
    assert learner.every == every
    for _ in range(min(steps, 4000)):
        learner.measure(lambda: 1.)
        learner.advance()
    assert len(turns) == pytest.approx(min(0.85 * steps, 4000) / every, abs=1)
    assert given or 0.85 * steps / every <= 1000


def test_frozen_poolings_are_neither_jittered_nor_measured_nor_moved():
    model = Net()
    model.pools['b'].requires_grad_(False)
    learner = ScaleLearner(model, 60, cost_of(model), 0.9, jitter=0.1)
    loss, seen = known_loss(model, SLOPES), []
    for _ in range(60):
        with learner.step(lambda: (seen.append(model.pools['b'].alpha.tolist()), loss())[1]):
            seen.append((1 / model.pools['b'].scale).tolist())
    assert seen == [[2.0, 2.0]] * len(seen)
    assert model.pools['a'].alpha.tolist() != [2.0, 2.0]


def test_a_network_that_is_already_smaller_starts_from_there():
    model = Net()
    cost = cost_of(model)
    for pool in model.pools.values():
        pool.set_alpha_([2.4, 2.4])
    start = cost({f'pools.{n}': p.alpha.detach() for n, p in model.pools.items()}).item()
    learner = ScaleLearner(model, 50, cost, 0.9, jitter=0.0)
    assert learner.keeper.plan.start == pytest.approx(start, rel=1e-6)
    assert start < 0.6 * cost.initial
    run(learner, lambda: 0.0, 5)
    assert model.pools['a'].alpha.tolist() == pytest.approx([2.4, 2.4], rel=1e-4)


@pytest.mark.parametrize('length', [60, 90])
def test_resumed_it_ends_with_the_same_bits(length):
    """Also with another length: as one that was given it at the same place."""
    def made(steps, state=None):
        torch.manual_seed(1)
        model = Net()
        learner = ScaleLearner(model, steps, cost_of(model), 0.7)
        if state:
            learner.load_state_dict(pickle.loads(pickle.dumps(state)))
        return learner

    def go(learner, until):
        torch.manual_seed(learner.done)
        loss = known_loss(learner.model, SLOPES, 0.2)
        while learner.done < until:
            torch.manual_seed(learner.done)
            with learner.step(loss):
                pass

    whole = made(60)
    go(whole, 23)
    resumed = made(length, whole.state_dict())
    if length == 60:
        go(whole, 60)
        go(resumed, 60)
        assert resumed.values.tolist() == whole.values.tolist()
        assert resumed.state_dict() == whole.state_dict()
    else:
        again = made(length, whole.state_dict())
        go(resumed, 24)
        progress = (24 / 90 - 0.1) / 0.4
        assert math.exp(resumed.keeper.log_cost(resumed.values)[0]) / resumed.cost.initial == (
            pytest.approx(0.7**progress, rel=1e-4))
        go(resumed, 90)
        go(again, 90)
        assert resumed.settled and resumed.values.tolist() == again.values.tolist()


def test_the_state_of_other_poolings_is_refused():
    other = nn.ModuleDict(dict(pools=nn.ModuleDict(dict(z=DynOPool()))))
    with pytest.raises(ValueError, match=r"\['pools.a', 'pools.b', 'pools.c'\]"):
        ScaleLearner(Net(), 10).load_state_dict(ScaleLearner(other, 10).state_dict())


def test_with_lambda_the_costs_slope_is_added_and_nothing_projected():
    """Where only the cost pulls, all shrink; the usual size is that of the loss's slopes."""
    ends = []
    for weight in (0.0, 100.0):
        torch.manual_seed(0)
        model = Net()
        learner = ScaleLearner(model, 200, cost_of(model), weight=weight, travel=0.3)
        run(learner, known_loss(model, SLOPES, 0.1), 200)
        ends.append(learner.values)
        assert learner.settled and learner.keeper is None
    slope = 100.0 * cost_of(Net()).initial * learner.scales.log_cost(
        learner.cost, np.full(6, math.log(2)))[1]
    assert (slope < 0).all() and (ends[1] > ends[0]).all()


def test_the_paper_s_gradient_is_that_of_the_cost_in_the_loss():
    torch.manual_seed(0)
    model, image = Net(), torch.rand(2, 1, *Net.shape)
    other, cost = copy.deepcopy(model), cost_of(model)
    loss = model(image).square().mean()
    loss.backward()
    added = add_cost_gradient(model, cost, weight=30.0)
    term = 30.0 * cost({f'pools.{n}': p.bounded_alpha() for n, p in other.pools.items()})
    (other(image).square().mean() + term).backward()
    assert added.item() == pytest.approx(term.item())
    for ours, theirs in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-9)


def test_shape_adaptors_are_moved_by_slopes_beside_the_image():
    """Each by one number, in proportion to its slope."""
    model = nn.ModuleDict(dict(pools=nn.ModuleDict(dict(image=ImageResize(tied=True),
                                                        p=ShapeAdaptor(0.5)))))
    learner = ScaleLearner(model, 60, travel=0.4, jitter=0.1)
    run(learner, known_loss(model, [-0.1, -0.1, 0.3, 0.3]), 60)
    image, adaptor = (pool.bounded_alpha().detach().log() for pool in model.pools.values())
    assert image[0] == image[1] and adaptor[0] == adaptor[1]
    assert image[0] > 0.1
    # The second to be measured begins a turn later.
    assert (math.log(2) - adaptor[0]).item() == pytest.approx(3 * image[0].item(), rel=0.1)


@pytest.mark.parametrize('options, words', [
    (dict(target=0.01), 'gmacs_budget of .* is out of reach: the bounds of the scales allow'),
    (dict(cost=None, target=0.5), 'of a cost: give it'), (dict(travel=-1), 'travel must be'),
    (dict(every=0), 'every must be'), (dict(jitter=1.0), 'jitter must be')])
def test_bad_arguments(options, words):
    model = Net()
    with pytest.raises(ValueError, match=words):
        ScaleLearner(model, 10, **dict(cost=cost_of(model)) | options)


def test_a_shape_adaptor_has_a_gradient_of_its_own():
    with pytest.raises(ValueError, match='a ShapeAdaptor has a gradient of its own'):
        ScaleLearner(nn.ModuleDict(dict(p=ShapeAdaptor())), 10)


def test_one_pooling_alone_trades_height_for_width():
    """At one cost the difference of the logarithms alone is free; it goes where the loss says."""
    model = nn.Sequential(DynOPool(0.5, bounds=(0.05, 1.0)), nn.Conv2d(1, 4, 3, padding=1))
    cost = probe_complexity(model, (64, 96), in_channels=1)

    def loss():
        return model[0].bounded_alpha().log() @ torch.tensor([1.0, -1.0])

    learner = ScaleLearner(model, 60, cost, 0.5, travel=0.3)
    for _ in range(60):
        with learner.step(loss):
            pass
    height, width = model[0].alpha.tolist()
    assert height < 2.1 and width > 3 and height * width == pytest.approx(8, rel=0.03)


def test_jitter_keeps_the_maps_that_are_to_stay():
    """A stock map of two rows keeps them in every pass; a batch of one is then no trouble."""
    model = Net()  # 64 x 96 through three poolings
    cost = probe_complexity(model, (16, 24), in_channels=1)  # ends at 2 x 3
    learner, sizes = ScaleLearner(model, 10**4, cost, jitter=0.3), set()
    for _ in range(200):
        learner.begin_pass()
        sizes.add(tuple(model(torch.zeros(1, 1, 16, 24)).shape[2:]))
        learner.end_pass()
    assert min(height for height, _ in sizes) == 2 == min(width for _, width in sizes)
    assert len(sizes) > 3


def test_poolings_whose_bounds_are_equal_take_no_turn():
    model = Net()
    model.pools['b'] = DynOPool(0.5, bounds=(0.5, 0.5))
    learner = ScaleLearner(model, 100, cost_of(model), 0.8)
    assert list(learner.scales.parts) == ['pools.a', 'pools.c']
    run(learner, known_loss(model, SLOPES), 60)
    assert model.pools['b'].alpha.tolist() == [2.0, 2.0]


def test_a_cost_that_does_not_depend_on_a_scale():
    """The class score at the end of a network, behind a pooling to one cell, has none."""
    model = nn.Sequential(DynOPool(0.5), nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(4),
                          DynOPool(0.5), nn.Flatten(), nn.Linear(16, 2))
    cost = ComplexityModel([LayerCost('1', 'convolution', 1.0, {'0': (1., 1.)})],
                           {'0': (0.5, 0.5), '3': (0.5, 0.5)}, (32, 32))
    learner = ScaleLearner(model, 50, cost, 0.7, jitter=0.0)
    run(learner, lambda: 0.0, 40)  # before they settle, as counted
    assert model[3].alpha.tolist() == pytest.approx([2.0, 2.0])
    assert model[0].alpha.prod().item() == pytest.approx(4 / 0.7, rel=1e-4)
    add_cost_gradient(model, ComplexityModel(cost.layers, {'0': (0.5, 0.5)}, (32, 32)), 1.0)
    assert model[3].alpha.grad.tolist() == [0, 0] and (model[0].alpha.grad < 0).all()


@pytest.mark.parametrize('options, words', [
    (dict(begin=0.6, reach=0.5), '0 <= begin < reach < settle < 1'), (dict(settle=2), 'settle < 1'),
    (dict(steps=0), 'steps must be'), (dict(smallest=0), 'smallest must be'),
    (dict(target=-1), 'target must be'), (dict(target=0.5, weight=1.0), 'either target or weight')])
def test_options_of_a_loop_are_checked(options, words):
    model = Net()
    with pytest.raises(ValueError, match=words):
        ScaleLearner(model, **dict(steps=10, cost=cost_of(model)) | options)


def test_nothing_that_can_move():
    model = Net()
    model.requires_grad_(False)
    with pytest.raises(ValueError, match='has no scale that can move'):
        ScaleLearner(model, 10)
    scales = LearnedScales(model)
    with pytest.raises(ValueError, match='no scale can move'):
        BudgetKeeper(scales, cost_of(model), 0.01)
