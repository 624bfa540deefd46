"""The log line: short for people, whole for the visualizer's backends."""

import pytest
from mmengine.registry import LOG_PROCESSORS

from mmseg_dynopool.hooks.shape_scalar import ShapeScalar
from support.runs import train


@pytest.fixture(scope='module', params=['weight', 'budget'])
def runner(request, tmp_path_factory):
    """The scales in the optimizer, with lr and gradients, or with a learner, which has slopes."""
    learner = request.param == 'budget'
    options = dict(gmacs_budget=dict(target=0.8)) if learner else dict(gmacs_weight=1.0)
    runner = train(tmp_path_factory.mktemp('run'), iterations=4, val_interval=4, hook=options,
                   alpha_lr=None if learner else 1.0)
    for name in runner.model.backbone.dynopools if learner else ():
        for scalar in ('slope', 'slope_noise'):  # which are not known in so short a run
            for axis in 'hw':
                key = ShapeScalar(name, scalar, axis).key
                runner.message_hub.update_scalar(f'train/{key}', 0.1)
    return runner


def lines(runner, **options):
    """Scalars and text of mmengine's processor and of ours, for the last iteration."""
    return [LOG_PROCESSORS.build(dict(type=kind, by_epoch=False, **options)).get_log_after_iter(
        runner, 3, 'train') for kind in ('LogProcessor', 'mmseg.DynOPoolLogProcessor')]


@pytest.mark.parametrize('hierarchy', [False, True])
def test_one_entry_per_dynopool(runner, hierarchy):
    (every, long), (tag, text) = lines(runner, log_with_hierarchy=hierarchy)
    learner = 'train/gmacs_plan' in runner.message_hub.log_scalars
    quantities = ('slope', 'slope_noise') if learner else ('grad_mean', 'grad_std', 'grad_snr')
    assert tag == every and {key.removeprefix('train/') for key in tag if 'stream1/' in key} == {
        f'dynopool/stream1/{quantity}_{axis}' for axis in 'hw'
        for quantity in ('alpha', 'scale', 'size', *quantities)}
    pools, sizes = runner.model.backbone.dynopools, runner.model.backbone.feature_sizes((64, 96))
    entries = text.split('  ')
    assert entries[-3:] == [
        '{}: {:.3f} x {:.3f} ({} x {})'.format(name, *pool.scale.tolist(), *sizes[name])
        for name, pool in pools.items()]
    kept = [entry for entry in long.split('  ') if not entry.startswith('dynopool/')]
    assert entries[:-3] == kept and 'gmacs_ratio: ' in text
    assert ('dynopool/lr: ' in text, 'gmacs_plan: ' in text) == (not learner, learner)
    assert len(entries) < len(long.split('  ')) / 2


def test_a_line_without_dynopool_is_left_alone(runner):
    texts = [LOG_PROCESSORS.build(dict(type=kind, by_epoch=False)).get_log_after_iter(
        runner, 0, 'val')[1] for kind in ('LogProcessor', 'mmseg.DynOPoolLogProcessor')]
    assert texts[0] == texts[1] and texts[0].startswith('Iter(val)')
