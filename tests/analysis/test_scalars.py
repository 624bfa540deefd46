"""The reader of a run's logs."""

import json

import pytest

from mmseg_dynopool.analysis.scalars import read_scalars


def write_log(work_dir, time, rows, end=''):
    path = work_dir / time / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows) + end)


def step(iteration, loss, **more):
    return dict(loss=loss, iter=iteration, step=iteration, **more)


def test_a_resumed_run_is_one_series(tmp_path):
    """Killed after iteration 30, resumed from the checkpoint of iteration 20."""
    write_log(tmp_path, '20260101_000000', [step(10, 3.0), step(20, 2.0), dict(mIoU=50.0, step=20),
                                            step(30, 9.0)], end='{"loss": 1.0, "it')
    write_log(tmp_path, '20260101_010000', [step(30, 1.0), step(40, 0.5), dict(mIoU=60.0, step=40)])
    scalars = read_scalars(tmp_path)
    assert scalars.get('loss') == [(10, 3.0), (20, 2.0), (30, 1.0), (40, 0.5)]
    assert scalars.get('mIoU') == [(20, 50.0), (40, 60.0)]
    assert scalars.get('nothing') == []


def test_validations_that_count_in_epochs_stand_behind_their_last_step(tmp_path):
    write_log(tmp_path, '1', [step(93, 3.0, epoch=1), dict(mIoU=50.0, step=1),
                              step(186, 2.0, epoch=2), dict(mIoU=55.0, step=2)])
    assert read_scalars(tmp_path).get('mIoU') == [(93, 50.0), (186, 55.0)]


def test_task_loss_and_scales(tmp_path):
    more = {f'dynopool/stream1/scale_{axis}': r for axis, r in (('h', 0.4), ('w', 0.6))}
    write_log(tmp_path, '1', [step(1, 3.0, loss_gmacs=0.5, **more), step(2, 2.0)])
    scalars = read_scalars(tmp_path)
    assert scalars.task_loss() == [(1, 2.5), (2, 2.0)]
    assert scalars.scales() == {'stream1': {'h': [(1, 0.4)], 'w': [(1, 0.6)]}}


@pytest.mark.parametrize('rows, message', [
    (None, 'is empty'),
    ([], 'hold no training loss (found: nothing)'),
    ([dict(bbox_mAP=0.3, step=1)], 'hold no training loss (found: bbox_mAP'),
    ([dict(epoch=1, accuracy=0.9), step(1, 1.0)], 'line 1 of'),
    (['a list'], 'is no line of an mmengine log'),
])
def test_no_log_and_logs_of_other_projects(tmp_path, rows, message):
    if rows is not None:
        write_log(tmp_path, '1', rows)
    with pytest.raises(ValueError) as error:
        read_scalars(tmp_path)
    assert message in str(error.value) and 'give the work dir of a training' in str(error.value)
