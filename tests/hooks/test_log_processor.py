"""The log line: short for people, whole for the visualizer's backends."""

import pytest
from mmengine.registry import LOG_PROCESSORS

from support.runs import segmentor, train


@pytest.fixture(scope='module')
def runner(tmp_path_factory):
    return train(tmp_path_factory.mktemp('run'), segmentor(gmacs_weight=1.0), 4,
                 val_interval=4)


def lines(runner, **options):
    """Scalars and text of mmengine's processor and of ours, for the last iteration."""
    return [LOG_PROCESSORS.build(dict(type=kind, by_epoch=False, **options)).get_log_after_iter(
        runner, 3, 'train') for kind in ('LogProcessor', 'mmseg.DynOPoolLogProcessor')]


@pytest.mark.parametrize('hierarchy', [False, True])
def test_one_entry_per_dynopool(runner, hierarchy):
    (every, long), (tag, text) = lines(runner, log_with_hierarchy=hierarchy)
    assert tag == every and sum('dynopool/' in key for key in tag) > 30
    pools, sizes = runner.model.backbone.dynopools, runner.model.backbone.feature_sizes((64, 96))
    entries = text.split('  ')
    assert entries[-3:] == [
        '{}: {:.3f} x {:.3f} ({} x {})'.format(name, *pool.scale.tolist(), *sizes[name])
        for name, pool in pools.items()]
    kept = [entry for entry in long.split('  ') if not entry.startswith('dynopool/')]
    assert entries[:-3] == kept and 'dynopool/lr: ' in text and 'gmacs_ratio: ' in text
    assert len(entries) < len(long.split('  ')) / 2


def test_a_line_without_dynopool_is_left_alone(runner):
    texts = [LOG_PROCESSORS.build(dict(type=kind, by_epoch=False)).get_log_after_iter(
        runner, 0, 'val')[1] for kind in ('LogProcessor', 'mmseg.DynOPoolLogProcessor')]
    assert texts[0] == texts[1] and texts[0].startswith('Iter(val)')
