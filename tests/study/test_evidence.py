"""The list of runs, how they are trained, and that the page says what the lines say."""

import functools
import itertools
import json
import math
import re
import statistics
from collections import Counter
from weakref import WeakKeyDictionary

import numpy as np
import pytest
import torch
from mmseg.registry import HOOKS, MODELS

from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.learning.learner import default_every
from mmseg_dynopool.models import count_network_gmacs
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from study import candidates, image_runs, times
from study import lines as study_lines
from study import train as training
from study.candidates import describe, gmacs, load
from study.fashion_scenes import VARIANTS
from study.page_0_3 import write_page
from study.runs import CHEAPER, METHODS, NETWORKS, Run, all_runs
from study.tables import Group, at_time, difference, total_stride_ratio
from support.commands import tool
from support.pretend import pretend
from support.toys import ROOT
from support.welch import welch

LINES = ROOT / 'docs' / 'evidence' / 'runs.jsonl'
PAGE = ROOT / 'docs' / 'evidence_0_3.md'
DONE = study_lines.read_lines(LINES)
TIMES = json.loads(LINES.with_name('times.json').read_text())
RUNS = {run.key: run for run in all_runs()}


described = functools.cache(describe)  # by a search


@pytest.fixture(autouse=True, scope='module')
def counted_once():
    """The search comes back to sizes that it has counted; how the networks run is known."""
    counts: WeakKeyDictionary = WeakKeyDictionary()

    def count(model, shape):
        of_model = counts.setdefault(model, {})
        if shape not in of_model:
            of_model[shape] = count_network_gmacs(model, shape, forward_without_postprocessing)
        return of_model[shape]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, 'count_network_gmacs', count)
        yield


def test_the_list():
    runs = all_runs()
    assert len(RUNS) == len(runs)
    earlier = set()
    for run in runs:
        assert run.needs is None or run.needs in earlier
        earlier.add(run.key)
    assert {run.method for run in runs} == set(METHODS)
    assert {run.network for run in (*runs, *image_runs.all_runs())} == set(NETWORKS)
    seeds = Counter(run.key.rpartition('/')[0] for run in runs)
    assert min(seeds.values()) >= 3
    follows = [f'hrnet/{data}/measured/0.5' for data in ('isotropic', 'stretched_h', 'stretched_w')]
    assert {seeds[key] for key in follows} == {5}


@pytest.mark.parametrize('method', ['measured', 'latency'])
def test_what_version_0_3_trained_is_refused(method):
    with pytest.raises(ValueError, match=rf'demo/mni152/{method}/0\.7/seed1: version 0\.3 trained'):
        describe(Run('demo', 'mni152', method, 0.7, 1))


@pytest.mark.parametrize('options', image_runs.SENSITIVITY, ids=str)
def test_the_options_of_the_learners_runs(options):
    """Each is where it acts: in the hook, its budget, or the network."""
    run = Run('hrnet', 'stretched_h', 'learner', 0.5, 0, image_runs.LEARNED + options)
    config = load(*describe(run))
    hook = HOOKS.build(config.custom_hooks[0])
    budget, image = hook.options.budget, MODELS.build(config.model).backbone.dynopools.image
    small = tuple(image.initial_scale) != (1, 1)
    found = dict(
        travel=hook.travel, every=hook.every or default_every(300), jitter=hook.jitter,
        step=hook.estimator.step,
        shrink=type(hook).__name__ != 'UnshrunkHook', begin=budget.begin, reach=budget.reach,
        settle=budget.settle, multiple=image.multiple, start='target' if small else 'stock')
    usual = dict(travel=3., every=2, jitter=0., step=0.1, shrink=True, begin=0.1, reach=0.5,
                 settle=0.85, multiple=4, start='stock')
    assert found == usual | dict(options)
    stock = gmacs(*described(Run('hrnet', 'stretched_h', 'stock', 1., 0)))
    assert budget.target_gmacs == pytest.approx(0.5 * stock)
    if small:  # the training begins at the cost at which it ends
        assert gmacs(*described(run)) == pytest.approx(0.5 * stock, rel=0.1)


@pytest.mark.parametrize('network, method, ratio', [
    *itertools.product(['hrnet', 'deeplab'], ['input', 'squeezed', 'uniform', 'picked'],
                       [0.75, 0.5]), ('hrnet', 'narrow', 0.75), ('deeplab', 'narrow', 0.5)])
def test_a_candidate_costs_what_it_should(network, method, ratio):
    """Counted anew, from the config and the overrides."""
    run = Run(network, 'stretched_h', method, ratio, 0)
    stock = gmacs(*described(Run(network, 'stretched_h', 'stock', 1., 0)))
    assert gmacs(*described(run)) / stock == pytest.approx(ratio, rel=0.02)


def test_a_picked_aspect_undoes_the_stretch():
    for data, ratio in (('stretched_h', 3), ('stretched_w', 1 / 3)):
        _, overrides = described(Run('hrnet', data, 'picked', 0.5, 0))
        scales = overrides['model.backbone.dynopool']['scale']
        # But for the first level's lean, by which costs are matched.
        assert total_stride_ratio(dict(scales=scales)) == pytest.approx(ratio, rel=0.1)
        assert scales['stem1'][1] / scales['stem1'][0] == pytest.approx(ratio, rel=0.1)


def test_uniform_scales_are_uniform():
    lines = [line for line in DONE.values() if line['method'] == 'uniform']
    assert lines
    for line in lines:
        assert total_stride_ratio(line) == pytest.approx(1, rel=0.1), line['key']


def test_a_smaller_input_is_judged_on_the_whole_label_map():
    _, overrides = described(Run('hrnet', 'stretched_h', 'input', 0.5, 0))
    names = [step['type'] for step in overrides['val_dataloader.dataset.pipeline']]
    assert names.index('Resize') < names.index('LoadAnnotations')


def test_finished_runs_are_listed_and_whole():
    assert set(DONE) <= set(RUNS)
    for line in DONE.values():
        assert 0 < line['miou'] < 100 and line['seconds'] > 0 and line['versions']['torch']


def test_equal_cost_means_within_two_per_cent():
    unmatched = ('stock', 'fixed', 'slopes', 'latency')
    misses = {key: line['gmacs_ratio'] / line['target_ratio'] - 1 for key, line in DONE.items()
              if line['method'] not in unmatched}
    assert {key: round(m, 4) for key, m in misses.items() if abs(m) > 0.02} == {}


def test_a_budget_in_time_was_met():
    """Within what times differ by that were taken beside another training."""
    times = {key: time for key, time in TIMES.items() if '/latency/' in key}
    assert len(times) == 3
    assert all(time == pytest.approx(0.7, rel=0.07) for time in times.values())
    assert TIMES.keys() == {key for key, line in DONE.items()
                            if line['network'] == 'demo' and line['scales']}


def test_the_times_are_of_the_lines_scales(tmp_path, monkeypatch):
    """A network's time is here the area of its last map."""

    def measure(model, tried, shape, channels, forward, repeats):
        assert {frozenset(scales) for scales in tried} == {frozenset(learned_pools(model))}
        return np.array([[math.prod(map(math.prod, scales.values()))] * 2 for scales in tried])

    monkeypatch.setattr(times, 'measure_latency', measure)
    monkeypatch.setattr(torch, 'set_num_threads', lambda number: None)
    times.write_times(DONE, tmp_path / 'times.json')
    found = json.loads((tmp_path / 'times.json').read_text())
    assert found.keys() == TIMES.keys()
    for key, time in found.items():
        scales = DONE[key]['scales'].values()
        assert time == pytest.approx(math.prod(map(math.prod, scales)) * 4**len(scales), abs=1e-4)


@pytest.mark.parametrize('key', [f'hrnet/stretched_h/{method}/0.5/seed0' for method in
                                 ('input', 'narrow', 'picked', 'measured')])
def test_the_recorded_cost_is_that_of_the_recorded_config(key):
    line = DONE[key]
    config = load(line['config'], line['overrides'])
    if line['method'] == 'measured':  # at the scales that it learned
        config.model.type = 'EncoderDecoder'
        config.model.pop('gmacs_budget')
        config.model.backbone.dynopool.update(learn=False, scale=line['scales'])
    counted = count_network_gmacs(MODELS.build(config.model),
                                    config.model.data_preprocessor.size)
    assert counted == pytest.approx(line['gmacs'], rel=0.01)


def test_the_page_is_that_of_the_lines(tmp_path):
    write_page(DONE, TIMES, tmp_path / PAGE.name)
    assert (tmp_path / PAGE.name).read_text() == PAGE.read_text()
    for picture in re.findall(r'\]\((evidence/\w+\.png)\)', PAGE.read_text()):
        assert (tmp_path / picture).is_file() and (PAGE.parent / picture).is_file()


def finished(network, data, method, ratio, **options):
    return [line for line in DONE.values() if line['options'] == options and (
        line['network'], line['data'], line['method'], line['target_ratio']) == (
            network, data, method, ratio)]


def test_the_tables_numbers_recomputed():
    """Each row of the first table of costs, from the lines by other code than the page's."""
    table = PAGE.read_text().split('## Accuracy at equal cost')[1].split('\n## ')[0]
    rows = re.findall(r'^\| (.+), (0\.\d+) \| (\S+) ± (\S+) \| (\S+) ± (\S+) \|', table, re.M)
    by_name = {name: method for method, name in METHODS.items()}
    assert len(rows) >= 8
    network = 'hrnet'
    seen = set()
    for name, ratio, *numbers in rows:
        if (name, ratio) in seen:
            network = 'deeplab'
        seen.add((name, ratio))
        lines = finished(network, 'stretched_h', by_name[name], float(ratio))
        for value, (mean, deviation) in (('miou', numbers[:2]), ('gmacs_ratio', numbers[2:])):
            values = [line[value] for line in lines]
            assert float(mean) == pytest.approx(statistics.fmean(values), abs=6e-3)
            assert float(deviation) == pytest.approx(statistics.stdev(values), abs=6e-3)


def mious(network, method, ratio, **options):
    return [line['miou'] for line in finished(network, 'stretched_h', method, ratio, **options)]


@pytest.mark.parametrize('network, ratio, options, ahead, level, behind', [
    ('hrnet', 0.75, {}, 'input uniform adaptor', 'picked squeezed narrow', ''),
    ('hrnet', 0.5, {}, 'uniform adaptor', 'input narrow', 'picked squeezed'),
    ('hrnet', 0.5, dict(begin=0.), '', 'input narrow picked squeezed', ''),
    ('deeplab', 0.75, {}, 'narrow uniform adaptor', 'input picked squeezed', ''),
    ('deeplab', 0.5, {}, 'input narrow uniform adaptor', 'picked squeezed', '')])
def test_the_verdicts_hold(network, ratio, options, ahead, level, behind):
    """What the page says of the measured gradient's networks in words."""
    for methods, signs in ((ahead, {1}), (level, {0}), (behind, {-1})):
        for method in methods.split():
            mean, half = welch(mious(network, 'measured', ratio, **options),
                               mious(network, method, ratio))
            assert (mean > half) - (mean < -half) in signs, (method, mean, half)


def test_the_differences_recomputed():
    """Those of the findings' sentences, by other code than the page's."""
    findings = PAGE.read_text().split('## What was found')[1].split('\n## ')[0]
    found = re.findall(r'[+-]\d+\.\d\d ± \d+\.\d\d', findings)
    pairs = [(mious('hrnet', 'picked', 0.5), mious('hrnet', 'uniform', 0.5))]
    for network, ratio in itertools.product(('hrnet', 'deeplab'), (0.75, 0.5)):
        for options in ({}, dict(begin=0.)):
            pairs += [(mious(network, 'measured', ratio, **options), mious(network, method, ratio))
                      for method in CHEAPER if method != 'measured']
    expected = ['{:+.2f} ± {:.2f}'.format(*welch(*pair)) for pair in pairs if all(pair)]
    assert len(found) >= 20 and set(found) <= set(expected)


def test_the_strides_follow():
    def strides(method, data):
        return [total_stride_ratio(line) for line in finished('hrnet', data, method, 0.5)]

    tall, square, wide = (strides('measured', data)
                          for data in ('stretched_h', 'isotropic', 'stretched_w'))
    assert min(tall) > max(square) and min(square) > max(wide)
    means = [statistics.fmean(strides('dynopool', data))
             for data in ('stretched_h', 'isotropic', 'stretched_w')]
    assert means == sorted(means), 'the straight-through gradient goes the wrong way'


def test_statistics():
    first, second = (Group(tuple(dict(miou=m, time=t) for m in values), 3)
                     for values, t in (((10., 12.), 1.0), ((5., 6., 7.), 0.5)))
    assert first.spread('miou', 1) == '11.0 ± 1.4' and first.seeds == '2 of 3'
    assert second.seeds == '3'
    # Standard error 1.155, 1.684 degrees of freedom, whose t is 5.18.
    assert difference(first, second) == '+5.00 ± 5.98'
    assert at_time([first, second], 0.75, 'time') == pytest.approx(8.5)
    assert at_time([first, second], 0.4, 'time') is None
    assert Group((), 3).spread('miou') == '-' and Group((), 3).seeds == '0 of 3'


def test_only(tmp_path):
    printed = tool('evidence', 'list', '--only', 'hrnet/*/measured/0.5/seed4', '--lines',
                   tmp_path / 'none.jsonl', cwd=tmp_path)
    assert [line.strip() for line in printed.splitlines()] == [
        f'hrnet/{data}/measured/0.5/seed4' for data in ('isotropic', 'stretched_w', 'stretched_h')]
    failed = tool('evidence', 'list', '--only', 'hrnet/x', cwd=tmp_path, ok=False)
    assert 'no run matches' in failed
    failed = tool('evidence', 'run', '--only', 'hrnet/*', cwd=tmp_path, ok=False)
    assert 'data/fashion_scenes/isotropic' in failed and 'dataset_converters' in failed


def test_goes_on_where_it_stopped(tmp_path, capsys):
    lines, runs = tmp_path / 'sub' / 'runs.jsonl', [
        Run('hrnet', 'stretched_h', method, 0.5, seed)
        for method in ('retrained', 'measured') for seed in (0, 1)]
    failed = study_lines.train(runs, lines, tmp_path, 2, pretend, int)
    needed, second = (Run('hrnet', 'stretched_h', m, 0.5, 0).key for m in ('measured', 'retrained'))
    assert failed == [f'hrnet/stretched_h/{m}/0.5/seed1' for m in ('measured', 'retrained')]
    assert (tmp_path / 'order').read_text().split() == [needed, second]
    done = study_lines.read_lines(lines)
    assert done[second]['given'] == needed  # it got the scales of the run that it needs
    printed = capsys.readouterr().out
    assert 'no memory' in printed and '1 runs wait' in printed and failed[0] in printed
    study_lines.train(runs[::2], lines, tmp_path, 1, pretend, int)
    assert len(lines.read_text().splitlines()) == 2  # nothing was trained twice


def test_a_worker_that_dies_is_named(tmp_path):
    runs = [Run('hrnet', 'stretched_h', 'stock', 1., seed) for seed in (2, 3)]
    with pytest.raises(SystemExit, match='a worker process died'):
        study_lines.train(runs, tmp_path / 'runs.jsonl', tmp_path, 1, pretend, int)
    assert len(study_lines.read_lines(tmp_path / 'runs.jsonl')) == 1


def test_two_at_once(tmp_path):
    with study_lines.open_alone(tmp_path / 'runs.jsonl'), \
            pytest.raises(SystemExit, match='another process'):
        study_lines.train([], tmp_path / 'runs.jsonl', tmp_path, 1, pretend, int)


@pytest.mark.parametrize('text', ['{"key": "a"}\n{"key": "b", "mi', '{"key": "a"}\n\n',
                                  '{"key": "a"}\n[1]\n', '{"key": "a"}\n{}\n'])
def test_a_damaged_line_is_named(tmp_path, text):
    path = tmp_path / 'runs.jsonl'
    path.write_text(text)
    with pytest.raises(SystemExit, match=r'runs\.jsonl, line 2 is no finished run'):
        study_lines.read_lines(path)


def test_no_page_of_nothing(tmp_path):
    assert 'holds no finished run' in tool('evidence', 'page', '--lines', tmp_path / 'none.jsonl',
                                           cwd=tmp_path, ok=False)


def test_one_run_from_config_to_line(tmp_path, monkeypatch):
    """Of two iterations, on scenes of noise."""
    import cv2
    height, width = VARIANTS['stretched_h'].shape
    generator = np.random.default_rng(0)
    for split, count in (('train', 130), ('val', 2)):
        for kind, top in (('images', 255), ('labels', 11)):
            folder = tmp_path / 'data/fashion_scenes/stretched_h' / kind / split
            folder.mkdir(parents=True)
            for k in range(count):
                noise = generator.integers(0, top, (height // 8, width // 8), dtype=np.uint8)
                cv2.imwrite(str(folder / f'{k}.png'), np.kron(noise, np.ones((8, 8), np.uint8)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, 'REPEATS', dict(train=1, test=1))
    monkeypatch.setattr(training, 'load', lambda file, overrides: load(file, {
        **overrides, 'train_cfg.max_iters': 4, 'train_cfg.val_interval': 4,
        'default_hooks.logger.interval': 1, 'train_dataloader.batch_size': 2}))
    run = Run('hrnet', 'stretched_h', 'learner', 0.5, 3, (('every', 1), ))
    line = json.loads(json.dumps(training.finish(run, tmp_path / 'work')))
    assert line['key'] == run.key and line['seed'] == 3 and line['options'] == dict(every=1)
    assert line['gmacs_ratio'] == pytest.approx(0.5, rel=0.02)
    assert set(line['scales']) == {'stem1', 'stem2', 'stream1', 'stream2', 'stream3'}
    hook, = line['overrides']['custom_hooks']
    assert (hook['type'], hook['every']) == ('DynOPoolHook', 1)
    assert hook['gmacs_budget']['target_gmacs'] == pytest.approx(line['gmacs'], rel=0.02)
    assert line['train_time_ratio'] > 0 and line['test_time_ratio'] > 0
    assert not (tmp_path / 'work' / run.key).exists()
