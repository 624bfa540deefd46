"""The latency model: fitted to a clock whose times are known, told, written, read."""

import json

import pytest
import torch
from torch import nn

from mmseg_dynopool.costs import LatencyModel, fit_latency, measure_latency, probe_complexity
from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d, FixedDynOPool, ShapeAdaptor
from support.clock import Clock

SHAPE = (256, 384)


def network(scale=0.45, channels=3, kind=DynOPool):
    """Two levels below each other; the first has its own conv on the image before it."""
    return nn.Sequential(nn.Conv2d(3, channels, 3, padding=1),
                         DynOPoolConv2d(kind(scale), channels, 4, 3, padding=1),
                         DynOPoolConv2d(kind(scale), 4, 5, 3, padding=1))


def alphas(*values):
    return {f'{k}.pool': torch.tensor(pair) for k, pair in zip((1, 2), values)}


def expected_ms(sizes, clock, channels=3):
    values = sum(c * h * w for c, (h, w) in zip((channels, 4), sizes))
    return 1e3 * (clock.constant + clock.per_value * values)


@pytest.fixture
def fitted(monkeypatch):
    clock = Clock(monkeypatch, drift=0.003)
    return fit_latency(network(), SHAPE, repeats=9), clock


def test_the_fit_finds_known_times_on_a_machine_that_slows_down(fitted):
    found, clock = fitted
    assert clock.slower > 1.5
    clock.slower = 1.0
    # The drift scales all of them alike.
    scale = found.start_ms / expected_ms([(115, 173), (52, 78)], clock)
    weights = dict(zip(('none', 'first', 'both'), map(found.weights.get, (
        (0, 0, 0, 0), (1, 1, 0, 0), (1, 1, 1, 1)))))
    areas = 0.45**2 * SHAPE[0] * SHAPE[1], 0.45**4 * SHAPE[0] * SHAPE[1]
    assert weights['none'] == pytest.approx(1e3 * clock.constant * scale, rel=0.05)
    assert weights['first'] == pytest.approx(1e3 * clock.per_value * 3 * areas[0] * scale, rel=0.02)
    assert weights['both'] == pytest.approx(1e3 * clock.per_value * 4 * areas[1] * scale, rel=0.06)
    median, largest = found.errors
    assert 0 < median < 0.005 and largest < 0.02
    assert len(found.settings) == 16
    assert found.shape == SHAPE and found.batch == 1 and 'thread' in found.device


def test_it_is_differentiable(fitted):
    found, _ = fitted
    at = alphas((2.3, 2.1), (1.9, 2.6))
    for pair in at.values():
        pair.requires_grad_()
    found.milliseconds(at).backward()
    for name, axis in ((n, a) for n in at for a in (0, 1)):
        ends = []
        for sign in (1, -1):
            moved = {n: p.detach().double().clone() for n, p in at.items()}
            moved[name][axis] += sign * 1e-4
            ends.append(found.milliseconds(moved).item())
        slope = (ends[0] - ends[1]) / 2e-4
        assert slope < 0 and at[name].grad[axis].item() == pytest.approx(slope, rel=1e-4)


def test_counted_at_rounded_sizes(fitted):
    found, clock = fitted
    model = network()
    count = found.counted(model, probe_complexity(model, SHAPE))
    scale = found.start_ms / expected_ms([(115, 173), (52, 78)], clock)
    for pairs, sizes in (([(2.5, 2.0), (2.0, 3.0)], [(102, 192), (51, 64)]),
                         ([(2.503, 2.001), (2.01, 3.001)], [(102, 192), (51, 64)]),
                         ([(4.0, 2.0), (2.0, 1.5)], [(64, 192), (32, 128)])):
        assert count(dict(zip(('1.pool', '2.pool'), pairs))) == pytest.approx(
            scale * expected_ms(sizes, clock), rel=0.01)


def test_written_and_read(fitted, tmp_path):
    found, _ = fitted
    found.save(tmp_path / 'latency.json')
    read = LatencyModel.load(tmp_path / 'latency.json')
    assert read == found
    content = json.loads((tmp_path / 'latency.json').read_text())
    bad = [{key: value for key, value in content.items() if key != 'weights'},
           content | dict(initial_scales=[1]), content | dict(start_ms=None),
           content | dict(start_ms=-3.0), content | dict(settings=[]),
           content | dict(shape=['a', 'b']),
           content | dict(weights=[dict(exponents=[1.0], value=2.0)]),
           content | dict(weights=[dict(exponents=[1.0] * 4, value=float('nan'))])]
    for text in ('{}', 'no json', *map(json.dumps, bad)):
        (tmp_path / 'bad.json').write_text(text)
        with pytest.raises(ValueError, match=r'cannot read a latency model from .*bad\.json'):
            LatencyModel.load(tmp_path / 'bad.json')
    with pytest.raises(ValueError, match=r'tools/latency\.py writes one'):
        LatencyModel.load(tmp_path / 'none.json')


def test_a_network_that_starts_elsewhere_has_the_same_times(fitted):
    found, _ = fitted
    moved = found.told_from(probe_complexity(network(0.3), SHAPE))
    at = alphas((2.3, 2.1), (1.9, 2.6))
    assert moved.initial_scales == {'1.pool': (0.3, 0.3), '2.pool': (0.3, 0.3)}
    assert moved.milliseconds(at).item() == pytest.approx(found.milliseconds(at).item())
    assert (moved.start_scales, moved.start_ms) == (found.start_scales, found.start_ms)
    assert moved.initial_ms == pytest.approx(
        found.milliseconds(alphas((1 / 0.3, ) * 2, (1 / 0.3, ) * 2)).item())
    assert found.told_from(probe_complexity(network(), SHAPE)) == found


@pytest.mark.parametrize('other, shape, words', [
    (network(channels=5), SHAPE, 'GMACs at its scales, not'),
    (network(), (256, 512), 'GMACs at its scales, not'),
    (nn.Sequential(network()), SHAPE, "['1.pool', '2.pool'], not ['0.1.pool', '0.2.pool']"),
    (nn.Sequential(DynOPoolConv2d(DynOPool(), 3, 3, 3), network()[1], network()[2]), SHAPE,
     "['1.pool', '2.pool'], not ['0.pool', '1.pool', '2.pool']"),
    (nn.Sequential(nn.Identity(), *network()[1:]), SHAPE, 'layers below other products'),
])
def test_another_network_is_refused(fitted, other, shape, words):
    with pytest.raises(ValueError, match='is of another network') as error:
        fitted[0].told_from(probe_complexity(other, shape))
    assert words in str(error.value)


def test_the_forward_pass_alone_is_timed(monkeypatch):
    clock = Clock(monkeypatch, constant=0.5, per_value=1.0)

    def slow(real):
        def call(*args):
            clock.now += 1e6
            real(*args)
        return call

    for name in ('__init__', 'set_alpha_', 'set_scale_'):
        monkeypatch.setattr(FixedDynOPool, name, slow(getattr(FixedDynOPool, name)))
    seconds = measure_latency(
        network(), [{'1.pool': (0.5, 0.5), '2.pool': (0.5, 0.5)},
                    {'1.pool': (0.25, 0.5), '2.pool': (1.0, 0.5)}], (32, 48), repeats=3)
    assert clock.now > 1e7
    assert seconds.tolist() == [[3 * 16 * 24 + 4 * 8 * 12 + 0.5] * 3,
                                [3 * 8 * 24 + 4 * 8 * 12 + 0.5] * 3]


@pytest.mark.parametrize('output', [dict, list, type(None)])
def test_a_forward_may_return_anything(output):
    def forward(network, image):
        network(image)
        return output()

    found = []
    for given in (None, forward):
        with pytest.MonkeyPatch.context() as patch:
            Clock(patch)
            found.append(fit_latency(network(), (32, 48), settings=5, forward=given, repeats=2))
    assert found[0] == found[1]


def test_the_network_itself_is_left_alone():
    model, seen = network(), []
    model.train()
    model[1].register_forward_hook(lambda *args: seen.append(args))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    seconds = measure_latency(model, [{'1.pool': (0.3, 0.4), '2.pool': (0.5, 0.5)}, {}], (32, 48),
                              repeats=3, batch=2)
    assert seconds.shape == (2, 3) and (seconds > 0).all()
    assert not seen and model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_measuring_takes_no_random_number_and_any_dtype():
    model, state = network().double(), torch.get_rng_state()
    found = fit_latency(model, (32, 48), settings=5, repeats=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(found.settings) == 5 and found.start_ms > 0


def test_refusals():
    with pytest.raises(ValueError, match='settings must be at least 5, got 4: the network has 3'):
        fit_latency(network(), (32, 48), settings=4)
    with pytest.raises(ValueError, match='repeats must be at least 2, got 1'):
        measure_latency(network(), [{}], (32, 48), repeats=1)
    with pytest.raises(ValueError, match='holds no DynOPool'):
        fit_latency(nn.Conv2d(3, 3, 3), (32, 48))
    with pytest.raises(ValueError, match='none can be timed; give it a gmacs_budget'):
        fit_latency(network(kind=ShapeAdaptor), (32, 48))
