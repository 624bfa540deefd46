"""Budgets of time in runs, on a clock whose times are known."""

import logging
from dataclasses import replace

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.costs import LatencyModel
from mmseg_dynopool.layers import freeze_pools, learned_pools
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from support.clock import Clock
from support.runs import Watch, segmentor, train

SHAPE = (128, 192)  # sizes whose rounding allows a fine time
NETWORK = dict(channels=(4, 8), modules=(1, 1, 0, 0))


def budgeted(**budget):
    """A network with a budget, as version 0.3 gave it."""
    return segmentor(latency_budget=dict(shape=SHAPE, **budget), backbone=dict(
        dynopool=dict(stem=True)), **NETWORK)


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, DynOPoolHook))


def counted_ms(runner):
    return hook_of(runner).cost.counted(runner.model)(
        {name: pool.alpha.tolist() for name, pool in learned_pools(runner.model).items()})


def seconds_of(model, clock):
    """The clock's time of a pass of the network as it would be deployed."""
    frozen = freeze_pools(model)
    start = clock.read()
    with torch.no_grad():
        forward_without_postprocessing(frozen.eval(), torch.rand(1, 3, *SHAPE))
    clock.ticks = 1  # the next reading ends a pass
    return clock.read() - start


def bumpy(size):
    """Small maps take longer, as those that a library has no fast routine for."""
    return 1.25 if size[0] * size[1] < 1150 else 1.0


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A run of 20 iterations, its checkpoints at 10 and 20, and its clock."""
    with pytest.MonkeyPatch.context() as patch:
        clock, watch = Clock(patch, 0.4, per_value=1.6e-5, step=bumpy), Watch()
        folder = tmp_path_factory.mktemp('whole')
        start = seconds_of(MODELS.build(budgeted(target=0.7)), clock)
        runner = train(folder, budgeted(target=0.7), 20, [watch], save_every=10)
        yield folder, runner, watch, start, seconds_of(runner.model, clock), clock


def test_the_measured_time_meets_the_budget(whole):
    _, runner, watch, start, end, _ = whole
    hook = hook_of(runner)
    found = hook.cost.found
    assert end / start == pytest.approx(0.7, rel=0.02)
    assert hook.keeper.measured / found.start_ms == pytest.approx(0.7, rel=0.02)
    # The model alone would have missed it, by what it does not know of small maps.
    assert abs(counted_ms(runner) / found.start_ms / 0.7 - 1) > 0.03
    moves = [not torch.equal(a, b) for a, b in zip(watch.alphas, watch.alphas[1:])]
    assert moves[-4:] == [True] + 3 * [False]  # settles at 17 of 20


def test_what_is_logged(whole):
    hub = whole[1].message_hub
    logged = {key: hub.get_scalar(f'train/{key}').current() for key in (
        'latency_ms', 'latency_ratio', 'latency_plan', 'latency_measured_ms', 'gmacs_ratio')}
    found = hook_of(whole[1]).cost.found
    assert logged['latency_ms'] == pytest.approx(logged['latency_ratio'] * found.start_ms, rel=1e-5)
    assert logged['latency_plan'] == pytest.approx(0.7)
    assert logged['latency_measured_ms'] == pytest.approx(0.7 * found.start_ms, rel=0.02)
    assert 0.6 < logged['latency_ratio'] < 0.8 and logged['gmacs_ratio'] < 0.8
    for gone in ('loss_gmacs', 'loss_latency', 'latency_lambda'):
        assert f'train/{gone}' not in hub.log_scalars


def test_a_resumed_run_ends_as_the_whole_one(whole, tmp_path):
    """It goes on with the times that were measured, on another day of the machine."""
    folder, runner, _, _, _, clock = whole
    clock.slower = 1.5
    resumed = train(tmp_path, budgeted(target=0.7), 20, resume=folder / 'iter_10.pth')
    clock.slower = 1.0
    state = resumed.model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in runner.model.state_dict().items())
    assert hook_of(resumed).cost.found == hook_of(runner).cost.found
    end = torch.load(folder / 'iter_20.pth', weights_only=False)['dynopool']['learner']['keeper']
    assert end['measured'] == hook_of(runner).keeper.measured is not None


def test_a_run_that_is_resumed_with_another_shape_measures_anew(whole, tmp_path):
    cfg = budgeted(target=0.7)
    cfg.latency_budget.shape = (96, 128)
    resumed = train(tmp_path, cfg, 20, resume=whole[0] / 'iter_10.pth')
    assert hook_of(resumed).cost.found.shape == (96, 128)


def test_a_file_of_other_initial_scales_gives_the_same_milliseconds(whole, file, tmp_path):
    """Also where the network at these is faster than the fit to the others has it."""
    clock = whole[5]
    wanted = 0.8 * LatencyModel.load(file).start_ms
    cfg = budgeted(target_ms=wanted, model=str(file))
    cfg.backbone.dynopool.scale = 0.62
    runner = train(tmp_path, cfg, 20)
    end = 1e3 * seconds_of(runner.model, clock)
    assert hook_of(runner).keeper.measured == pytest.approx(end, rel=1e-3)
    assert end == pytest.approx(wanted, rel=0.02)


def test_a_shape_of_its_own_is_timed_and_the_crop_counted(whole):
    hook = hook_of(whole[1])
    assert hook.cost.shape == SHAPE != (64, 96) == hook.shape


@pytest.fixture
def file(whole, tmp_path):
    path = tmp_path / 'latency.json'
    hook_of(whole[1]).cost.found.save(path)
    return path


def test_a_file_from_another_device_gives_the_target(whole, file, tmp_path, caplog):
    found = LatencyModel.load(file)
    replace(found, device='a phone').save(file)
    wanted = 0.75 * found.start_ms
    cfg = budgeted(target_ms=wanted, model=str(file))
    del cfg.latency_budget['shape']
    with caplog.at_level(logging.INFO):
        runner = train(tmp_path, cfg, 20)
    assert counted_ms(runner) == pytest.approx(wanted, rel=0.01)
    assert hook_of(runner).keeper.measured is None
    assert 'train/latency_measured_ms' not in runner.message_hub.log_scalars


@pytest.mark.parametrize('budget, words', [
    (dict(target=0.01), 'latency_budget of .* ms .* is out of reach: the bounds of the scales'),
    (dict(target_ms=1e8), 'is out of reach'),
    (dict(target=0.7, shape=(64, 96)), r'shape=\(64, 96\), but the model .* at \(128, 192\)'),
    (dict(target=0.7, model='none.json'), 'cannot read a latency model from .*none.json'),
])
def test_refused_before_the_first_step(file, tmp_path, budget, words):
    cfg = segmentor(latency_budget=dict(model=str(file)) | budget, backbone=dict(
        dynopool=dict(stem=True)), **NETWORK)
    with pytest.raises(ValueError, match=words):
        train(tmp_path / 'run', cfg, 20)


def test_a_file_of_another_network_is_refused(file, tmp_path):
    cfg = segmentor(latency_budget=dict(target=0.7, model=str(file)))
    with pytest.raises(ValueError, match='is of another network'):
        train(tmp_path / 'run', cfg, 20)


@pytest.mark.parametrize('options, words', [
    (dict(gmacs_budget=dict(target=0.7), latency_budget=dict(target=0.7)),
     'either gmacs_budget .* or latency_budget'),
    (dict(gmacs_weight=0.1, latency_budget=dict(target=0.7)), 'either gmacs_weight'),
    (dict(latency_budget=dict(target=0.7, target_ms=3.)), 'either target .* or target_ms'),
    (dict(latency_budget=dict()), 'either target .* or target_ms, got target=None'),
    (dict(latency_budget=dict(target=-1)), 'positive number, got -1'),
    (dict(latency_budget=dict(target=0.7, model=3)), 'path of a file .* got 3'),
    (dict(latency_budget=dict(target=0.7, shape=64)), 'latency_budget shape must be'),
    (dict(latency_budget=dict(ms=0.7)), r"unknown latency_budget options \['ms'\]"),
])
def test_malformed_options(options, words):
    with pytest.raises(ValueError, match=words):
        MODELS.build(segmentor(**options))
