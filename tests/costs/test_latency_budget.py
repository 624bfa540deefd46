"""The cost of a latency budget: from a file, measured, or of a run that is resumed."""

import json
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from mmseg_dynopool.costs import LatencyBudget, LatencyCost, probe_complexity
from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d
from support.clock import Clock

SHAPE, CROP = (128, 192), (64, 96)
ALPHAS = dict(zip(('1.pool', '2.pool'), ((2.5, 2.0), (2.0, 3.0))))


def network(scale=0.45, channels=3):
    """Two levels below each other."""
    return nn.Sequential(nn.Conv2d(3, channels, 3, padding=1),
                         DynOPoolConv2d(DynOPool(scale), channels, 4, 3, padding=1),
                         DynOPoolConv2d(DynOPool(scale), 4, 5, 3, padding=1))


def clock_ms(clock, sizes):
    """What the clock takes where the two poolings put out maps of these sizes."""
    return 1e3 * clock.slower * (clock.constant + clock.per_value * sum(
        c * h * w for c, (h, w) in zip((3, 4), sizes)))


def tensors(alphas):
    return {name: torch.tensor(pair) for name, pair in alphas.items()}


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def measured(clock):
    return LatencyBudget(target=0.7, shape=SHAPE).cost(network(), CROP)


@pytest.fixture
def file(measured, tmp_path):
    path = tmp_path / 'latency.json'
    measured.found.save(path)
    return str(path)


@pytest.mark.parametrize('shape, sizes', [
    (None, [(29, 43), (13, 19)]), (SHAPE, [(58, 86), (26, 39)]),
    (list(SHAPE), [(58, 86), (26, 39)])])
def test_measured_at_the_crop_or_at_a_shape_of_its_own(clock, shape, sizes):
    cost = LatencyBudget(target=0.7, shape=shape).cost(network(), CROP)
    assert cost.shape == cost.complexity.shape == tuple(shape or CROP)
    assert cost.initial == pytest.approx(clock_ms(clock, sizes))
    assert (cost.name, cost.scalar, cost.unit) == ('latency', 'latency_ms', 'ms')


def test_a_file_is_read_at_its_own_shape(measured, file, clock):
    ticks = clock.ticks
    for shape in (None, SHAPE, list(SHAPE)):
        cost = LatencyBudget(target=0.7, model=file, shape=shape).cost(network(), CROP)
        assert cost.found == measured.found and cost.shape == SHAPE
    elsewhere = LatencyBudget(target=0.7, model=file).cost(network(0.3), CROP)
    assert clock.ticks == ticks
    assert elsewhere.found == measured.found.told_from(probe_complexity(network(0.3), SHAPE))
    assert elsewhere(tensors(ALPHAS)).item() == pytest.approx(measured(tensors(ALPHAS)).item())
    assert elsewhere.initial == pytest.approx(
        measured(tensors(dict.fromkeys(ALPHAS, (1 / 0.3, 1 / 0.3)))).item())


@pytest.mark.parametrize('given, model, words', [
    (dict(shape=(64, 96)), network(), r'latency_budget shape=\(64, 96\), but the model .* was '
     r'measured at \(128, 192\); leave shape out'),
    (dict(model='none.json'), network(), r"cannot read a latency model from 'none\.json'"),
    ({}, network(channels=5), 'the latency model is of another network'),
    ({}, nn.Sequential(network()), 'the latency model is of another network')])
def test_a_file_that_does_not_fit_is_refused(file, given, model, words):
    budget = LatencyBudget(**dict(target=0.7, model=file) | given)
    with pytest.raises(ValueError, match=words):
        budget.cost(model, SHAPE)


def test_a_resumed_run_goes_on_with_its_times(measured, clock):
    state = json.loads(json.dumps(measured.state_dict()))
    clock.constant *= 3
    ticks = clock.ticks
    resumed = LatencyBudget(target=0.6, shape=SHAPE).cost(network(), CROP, state=state)
    assert clock.ticks == ticks
    assert resumed.found == measured.found and resumed.shape == SHAPE
    assert resumed.state_dict() == measured.state_dict()


@pytest.mark.parametrize('shape', [None, CROP])
def test_a_resumed_run_of_another_shape_measures_anew(measured, clock, shape):
    clock.constant *= 3
    resumed = LatencyBudget(target=0.7, shape=shape).cost(network(), CROP,
                                                          state=measured.state_dict())
    assert resumed.shape == CROP
    assert resumed.initial == pytest.approx(clock_ms(clock, [(29, 43), (13, 19)]))


def test_a_resumed_run_of_another_file_reads_it(measured, file, tmp_path):
    other = str(tmp_path / 'other.json')
    replace(measured.found, device='a phone', start_ms=7.0).save(other)
    state = LatencyBudget(target=0.7, model=file).cost(network(), CROP).state_dict()
    assert LatencyBudget(target=0.7, model=file).cost(
        network(), CROP, state=state).initial == measured.initial
    resumed = LatencyBudget(target=0.7, model=other).cost(network(), CROP, state=state)
    assert (resumed.initial, resumed.found.device) == (7.0, 'a phone')


def test_counted_and_measured_at_rounded_sizes(measured, clock):
    model, expected = network(), clock_ms(clock, [(51, 96), (26, 32)])
    ratio = expected / clock_ms(clock, [(58, 86), (26, 39)])
    assert measured.counted(model)(ALPHAS) == pytest.approx(expected, rel=0.01)
    assert measured.measured(model, ALPHAS) == pytest.approx(expected)
    clock.slower = 1.7  # as if the machine were as fast as when the model was made
    assert measured.measured(model, ALPHAS) == pytest.approx(ratio * measured.initial)
    elsewhere = LatencyCost(replace(measured.found, device='a phone'), measured.complexity)
    assert elsewhere.measured(model, ALPHAS) is None
    assert elsewhere.counted(model)(ALPHAS) == measured.counted(model)(ALPHAS)
    assert [tuple(pool.alpha.tolist()) for pool in (model[1].pool, model[2].pool)] == [
        pytest.approx((1 / 0.45, 1 / 0.45))] * 2


@pytest.mark.parametrize('errors, poor', [((0.02, 0.04, 0.3), False), ((0.02, 0.12, 0.3), True)])
def test_a_poor_model_is_told(measured, errors, poor):
    settings = [dict(scales={}, ms=10.0, predicted_ms=10 * (1 + error)) for error in errors]
    cost = LatencyCost(replace(measured.found, start_ms=12.34, settings=settings),
                       measured.complexity)
    said = re.fullmatch(
        r'latency model: 12\.34 ms at the initial scales on .* threads?; leave-one-out error '
        r'(.*)%, at most 30\.0%(.*)', cost.describe())
    assert said[1] == f'{100 * errors[1]:.1f}'
    assert said[2] == poor * ('. The latency model is poor: measure on a machine that does '
                              'nothing else, or with a larger input')
