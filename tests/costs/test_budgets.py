"""The options of budgets and of the cost of a training."""

import re

import pytest

from mmseg_dynopool.costs import Budget, GMACsBudget, LatencyBudget
from mmseg_dynopool.costs.options import CostOptions

NAN, INF = float('nan'), float('inf')
KINDS = [(GMACsBudget, 'gmacs_budget', 'target_gmacs'),
         (LatencyBudget, 'latency_budget', 'target_ms')]
PHASES = 'needs 0 <= begin < reach < settle < 1, got {}, {}, {}'


@pytest.mark.parametrize('kind, option, absolute', KINDS)
def test_a_target_is_a_ratio_or_a_cost(kind, option, absolute):
    relative = kind.from_options(dict(target=0.6))
    assert (relative.option, relative.absolute) == (option, absolute)
    assert (relative.begin, relative.reach, relative.settle) == (0.1, 0.5, 0.85)
    assert relative.wanted(150.0) == 90.0
    at_once = kind.from_options({absolute: 100, 'begin': 0, 'reach': 0.2, 'settle': 0.3})
    assert at_once.wanted(150.0) == 100
    assert (at_once.begin, at_once.reach, at_once.settle) == (0, 0.2, 0.3)


@pytest.mark.parametrize('kind, option, absolute', KINDS)
@pytest.mark.parametrize('given, message', [
    ({}, '{option} takes either target (relative to the initial scales) or {absolute}, got '
     'target=None, {absolute}=None'),
    (dict(target=0.5, absolute=10.0), 'got target=0.5, {absolute}=10.0'),
    (dict(target=0), '{option} target must be a positive number, got 0'),
    (dict(target=-0.5), '{option} target must be a positive number, got -0.5'),
    (dict(target=NAN), '{option} target must be a positive number, got nan'),
    (dict(target=INF), '{option} target must be a positive number, got inf'),
    (dict(target=True), '{option} target must be a positive number, got True'),
    (dict(target='half'), "{option} target must be a positive number, got 'half'"),
    (dict(absolute=-3), '{option} {absolute} must be a positive number, got -3'),
    (dict(target=0.5, begin=-0.1), '{option} ' + PHASES.format(-0.1, 0.5, 0.85)),
    (dict(target=0.5, begin=0.5), '{option} ' + PHASES.format(0.5, 0.5, 0.85)),
    (dict(target=0.5, reach=0.9), '{option} ' + PHASES.format(0.1, 0.9, 0.85)),
    (dict(target=0.5, settle=1.0), '{option} ' + PHASES.format(0.1, 0.5, 1.0)),
    (dict(target=0.5, reach=NAN), '{option} ' + PHASES.format(0.1, 'nan', 0.85)),
    (dict(target=0.5, begin=None), '{option} ' + PHASES.format(None, 0.5, 0.85)),
    (dict(target=0.5, ramp=3, at=1), "unknown {option} options ['at', 'ramp']; there are "
     "['target', 'begin', 'reach', 'settle', '{absolute}'"),
    (0.6, '{option} must be a dict such as dict(target=0.6), got 0.6')])
def test_malformed_budgets_are_refused(kind, option, absolute, given, message):
    if isinstance(given, dict):
        given = {absolute if name == 'absolute' else name: value for name, value in given.items()}
    with pytest.raises(ValueError) as error:
        kind.from_options(given)
    assert message.format(option=option, absolute=absolute) in str(error.value)


@pytest.mark.parametrize('given, message', [
    (dict(model=3), 'latency_budget model must be the path of a file that tools/latency.py '
     'wrote, got 3'),
    (dict(shape=64), 'latency_budget shape must be (H, W) with whole sizes >= 1, got 64'),
    (dict(shape=(0, 64)), 'latency_budget shape must be (H, W) with whole sizes >= 1, '
     'got (0, 64)')])
def test_malformed_sources_of_a_latency_are_refused(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LatencyBudget.from_options(dict(target=0.7, **given))


def test_options_of_a_training():
    assert CostOptions.of() == (None, None, None)
    assert CostOptions.of(gmacs_weight=0) == (0, None, None)
    assert CostOptions.of(gmacs_weight=7e-5, gmacs_shape=[64, 96]) == (7e-5, None, (64, 96))
    gmacs = GMACsBudget(target=0.6, reach=0.3)
    assert CostOptions.of(gmacs_budget=dict(target=0.6, reach=0.3)) == (None, gmacs, None)
    latency = LatencyBudget(target_ms=25.0, shape=(64, 96))
    assert CostOptions.of(latency_budget=dict(target_ms=25.0, shape=(64, 96))) == (
        None, latency, None)
    assert CostOptions.of(budget=gmacs).budget is gmacs


@pytest.mark.parametrize('given, message', [
    (dict(gmacs_weight=0.1, gmacs_budget=dict(target=0.7)),
     "give either gmacs_weight (got 0.1) or gmacs_budget (got {'target': 0.7}): one of them says "
     'what the network is to cost; gmacs_weight=None clears it'),
    (dict(gmacs_weight=0, latency_budget=dict(target=0.7)),
     "give either gmacs_weight (got 0) or latency_budget (got {'target': 0.7})"),
    (dict(gmacs_budget=dict(target=0.5), latency_budget=dict(target=0.7)),
     "give either gmacs_budget (got {'target': 0.5}) or latency_budget (got {'target': 0.7})"),
    (dict(gmacs_budget=dict(target=0.5), budget=GMACsBudget(target=0.7)),
     "give either gmacs_budget (got {'target': 0.5}) or budget (got GMACsBudget(target=0.7"),
    (dict(gmacs_weight=-1.0), 'gmacs_weight must be a finite number >= 0, got -1.0'),
    (dict(gmacs_weight=NAN), 'gmacs_weight must be a finite number >= 0, got nan'),
    (dict(gmacs_weight=INF), 'gmacs_weight must be a finite number >= 0, got inf'),
    (dict(gmacs_weight='7e-5'), "gmacs_weight must be a finite number >= 0, got '7e-5'"),
    (dict(gmacs_weight=True), 'gmacs_weight must be a finite number >= 0, got True'),
    (dict(gmacs_shape=512), 'gmacs_shape must be (H, W) with whole sizes >= 1, got 512'),
    (dict(gmacs_shape=(512, )), 'gmacs_shape must be (H, W) with whole sizes >= 1, got (512,)'),
    (dict(gmacs_shape=(64, 0.5)),
     'gmacs_shape must be (H, W) with whole sizes >= 1, got (64, 0.5)'),
    (dict(gmacs_budget={}), 'gmacs_budget takes either target (relative to the initial scales) or '
     'target_gmacs'),
    (dict(latency_budget=dict(ms=0.7)), "unknown latency_budget options ['ms']"),
    (dict(budget=dict(target=0.6)), 'budget must be a Budget, such as dict(type=..., '
     "target=0.6) of a class that is registered as one, got {'target': 0.6}")])
def test_malformed_options_of_a_training_are_refused(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        CostOptions.of(**given)


def test_a_budget_may_stand_between():
    """Of a family of costs: what they share is in a class that names none."""

    class Shared(Budget):
        pass

    class Own(Shared):
        cost_type = GMACsBudget.cost_type

    assert (Own.option, Own.absolute) == ('gmacs_budget', 'target_gmacs')
