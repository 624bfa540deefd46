"""LatencyBudgetHook in runs, on a clock whose times are known."""

import logging
from dataclasses import replace

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_dynopool.budget import LatencyBudgetHook, latency_hook
from mmseg_dynopool.latency import LatencyModel
from mmseg_dynopool.layers import freeze_pools
from mmseg_dynopool.models.cost import forward_without_postprocessing
from support.clock import Clock
from support.runs import Watch, segmentor, train

SHAPE = (256, 384)  # sizes whose rounding allows a fine time
NETWORK = dict(channels=(4, 8), modules=(1, 1, 0, 0))


def budgeted(**budget):
    return segmentor(latency_budget=dict(shape=SHAPE, **budget), backbone=dict(
        dynopool=dict(stem=True)), **NETWORK)


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
    return 1.25 if size[0] * size[1] < 4600 else 1.0


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A run of 20 iterations, its checkpoints at 10 and 20, and its clock."""
    with pytest.MonkeyPatch.context() as patch:
        clock, watch = Clock(patch, per_value=1e-6, step=bumpy), Watch()
        folder = tmp_path_factory.mktemp('whole')
        start = seconds_of(MODELS.build(budgeted(target=0.7)), clock)
        runner = train(folder, budgeted(target=0.7), 20, [watch], save_every=10)
        yield folder, runner, watch, start, seconds_of(runner.model, clock), clock


def test_the_measured_time_meets_the_budget(whole):
    _, runner, watch, start, end, _ = whole
    hook, = (h for h in runner.hooks if isinstance(h, LatencyBudgetHook))
    assert end / start == pytest.approx(0.7, rel=0.02)
    assert hook.measured_ms / runner.model.latency.start_ms == pytest.approx(0.7, rel=0.02)
    # The model alone would have missed it, by what it does not know of small maps.
    counted = runner.model.latency_counter()(
        {name: tuple(p.alpha.tolist()) for name, p in runner.model.pools().items()})
    assert abs(counted / runner.model.latency.start_ms / 0.7 - 1) > 0.03
    moves = [not torch.equal(a, b) for a, b in zip(watch.alphas, watch.alphas[1:])]
    assert moves == 16 * [True] + 3 * [False]  # settles at 17 of 20


def test_what_is_logged(whole):
    hub = whole[1].message_hub
    logged = {key: hub.get_scalar(f'train/{key}').current() for key in (
        'latency_ms', 'latency_ratio', 'latency_lambda', 'latency_measured_ms', 'gmacs_ratio',
        'loss_latency')}
    assert logged['latency_lambda'] == logged['loss_latency'] == 0
    assert logged['latency_ms'] == pytest.approx(
        logged['latency_ratio'] * whole[1].model.latency.start_ms, rel=1e-5)
    assert 0.6 < logged['latency_ratio'] < 0.8 and logged['gmacs_ratio'] < 0.8
    assert 'train/loss_gmacs' not in hub.log_scalars


def test_a_resumed_run_ends_as_the_whole_one(whole, tmp_path):
    """It goes on with the times that were measured, on another day of the machine."""
    folder, runner, _, _, _, clock = whole
    clock.slower = 1.5
    resumed = train(tmp_path, budgeted(target=0.7), 20, resume=folder / 'iter_10.pth')
    clock.slower = 1.0
    state = resumed.model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in runner.model.state_dict().items())
    assert resumed.model.latency == runner.model.latency
    end = torch.load(folder / 'iter_20.pth', weights_only=False)['latency_budget']
    assert end['measured_ms'] is not None and end['settled'] is not None


def test_a_run_that_is_resumed_with_another_shape_measures_anew(whole, tmp_path):
    cfg = budgeted(target=0.7)
    cfg.latency_budget.shape = (192, 256)
    resumed = train(tmp_path, cfg, 20, resume=whole[0] / 'iter_10.pth')
    assert resumed.model.latency.shape == (192, 256)


def test_a_file_of_other_initial_scales_gives_the_same_milliseconds(whole, file, tmp_path):
    """Also where the network at these is faster than the fit to the others has it."""
    clock = whole[5]
    wanted = 0.8 * LatencyModel.load(file).start_ms
    cfg = budgeted(target_ms=wanted, model=str(file))
    cfg.backbone.dynopool.scale = 0.62
    runner = train(tmp_path, cfg, 20)
    hook, = (h for h in runner.hooks if isinstance(h, LatencyBudgetHook))
    end = 1e3 * seconds_of(runner.model, clock)
    assert hook.measured_ms == pytest.approx(end, rel=1e-3)
    assert end == pytest.approx(wanted, rel=0.02)


def test_a_shape_of_its_own_stands_in_for_the_crop(whole, tmp_path):
    cfg = budgeted(target=0.8)
    del cfg.data_preprocessor['size']
    cfg.data_preprocessor.size_divisor = 32
    runner = train(tmp_path, cfg, 20)
    assert runner.model.cost.shape == SHAPE
    with pytest.raises(ValueError, match='or the shape of a latency_budget'):
        del cfg.latency_budget['shape']
        train(tmp_path / 'none', cfg, 20)


@pytest.fixture
def file(whole, tmp_path):
    path = tmp_path / 'latency.json'
    whole[1].model.latency.save(path)
    return path


def test_a_file_from_another_device_gives_the_target(whole, file, tmp_path, caplog):
    found = LatencyModel.load(file)
    replace(found, device='a phone').save(file)
    wanted = 0.75 * found.start_ms
    cfg = budgeted(target_ms=wanted, model=str(file))
    del cfg.latency_budget['shape']
    with caplog.at_level(logging.INFO):
        runner = train(tmp_path, cfg, 20)
    hook, = (h for h in runner.hooks if isinstance(h, LatencyBudgetHook))
    counted = runner.model.latency_counter()(
        {name: tuple(p.alpha.tolist()) for name, p in runner.model.pools().items()})
    assert counted == pytest.approx(wanted, rel=0.01)
    assert hook.measured_ms is None
    assert 'train/latency_measured_ms' not in runner.message_hub.log_scalars


@pytest.mark.parametrize('budget, words', [
    (dict(target=0.01), 'latency_budget of .* ms .* is out of reach: the bounds of the scales'),
    (dict(target_ms=1e8), 'is out of reach'),
    (dict(target=0.7, shape=(64, 96)), r'shape=\(64, 96\), but the model .* at \(256, 384\)'),
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


def test_the_loss_needs_the_hook():
    model = MODELS.build(segmentor(latency_budget=dict(target=0.7), **NETWORK))
    with pytest.raises(ValueError, match='latency_budget needs the hook that adapts the weight'):
        model.loss(torch.rand(1, 3, 64, 96), [])


def test_other_processes_take_over_what_the_main_one_measured(monkeypatch):
    model, asked = MODELS.build(budgeted(target=0.7)), []
    monkeypatch.setattr(latency_hook, 'is_main_process', lambda: False)
    monkeypatch.setattr(latency_hook, 'broadcast_object_list',
                        lambda found: found.__setitem__(0, 'what was sent'))
    monkeypatch.setattr(type(model), 'find_latency', lambda self: asked.append(self))
    assert latency_hook._on_main_process(model.find_latency) == 'what was sent' and not asked
