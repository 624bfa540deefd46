"""Logs of runs: joined where a run was resumed, refused where they are another project's."""

import json

import pytest

from mmseg_dynopool.analysis.logs import read_log, read_logs
from mmseg_dynopool.hooks import DynOPoolHook
from mmseg_dynopool.hooks.shape_scalar import ShapeScalar
from mmseg_dynopool.learning.keeper import Plan
from support.runs import segmentor, train

HEIGHT = ShapeScalar('stream1', 'scale', 'h').key


def line(step, scale=0.5, **more):
    scales = {f'dynopool/stream1/scale_{axis}': scale for axis in 'hw'}
    return dict(scales, loss=1.0, iter=step, step=step) | more


def write(work_dir, stamp, lines):
    path = work_dir / stamp / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(f'{x if isinstance(x, str) else json.dumps(x)}\n' for x in lines))
    return path


def test_a_real_run(tmp_path):
    """The log's last values are those of the network that the run left."""
    runner = train(tmp_path / 'mine', segmentor(gmacs_weight=3000.), 8, alpha_lr=0.02,
                   val_interval=8)
    log = read_log(tmp_path / 'mine')
    assert log.name == 'mine' and log.instances() == ['stream1', 'stream2', 'stream3']
    for name, pool in runner.model.backbone.dynopools.items():
        for axis, scale in zip('hw', pool.scale.tolist()):
            (first, before), (last, after) = log.shape(name, 'scale')[axis]
            assert (first, last) == (4, 8) and after == pytest.approx(scale) != before
    sizes = runner.model.backbone.feature_sizes((64, 96))
    assert log.last_sizes() == dict(sizes, input=(64, 96))
    # The line is written before the last step, whose move of the alphas is small.
    assert log.get('gmacs')[-1] == (8, pytest.approx(runner.model.count_gmacs(), rel=0.1))
    assert log.get('images') == [(8, 8)]  # of the validation


def test_a_real_run_with_a_learner(tmp_path):
    """Lines at 4 (an epoch), 16, where the last slope is measured, and 20, settled."""
    runner = train(tmp_path, segmentor(), 20, hooks=[dict(type='LoggerHook', interval=16)],
                   hook=dict(gmacs_budget=dict(target=0.98), every=1), alpha_lr=None)
    learner = next(hook.learner for hook in runner.hooks if isinstance(hook, DynOPoolHook))
    log = read_log(tmp_path)
    assert log.costs() == ['gmacs'] and log.task_loss() == log.get('loss')
    assert log.instances('slope') == ['stream1', 'stream2', 'stream3']
    for name, slopes in learner.slope_of().items():
        for axis, slope in zip('hw', slopes):
            for quantity, value in (('slope', slope.mean), ('slope_noise', slope.noise)):
                first, *_ = log.shape(name.rpartition('.')[2], quantity)[axis]
                assert first == (16, pytest.approx(value, rel=1e-6)) and value != 0
    plan = Plan(1.0, 0.98)
    ratios, plans = (dict(log.get(f'gmacs_{kind}')) for kind in ('ratio', 'plan'))
    # Of the scales that the iteration before has left.
    assert plans == {step: pytest.approx(plan.wanted((step - 1) / 20)) for step in (4, 16, 20)}
    assert (ratios[4], ratios[16]) == pytest.approx((plans[4], plans[16]), rel=1e-4)
    assert ratios[20] == pytest.approx(0.98, rel=0.02)


def test_a_resumed_run_goes_on_where_it_was_resumed(tmp_path):
    """Killed behind iteration 35, resumed at 20 with other lines, then killed in a line."""
    write(tmp_path / 'a', '20260101_000000', [
        line(10, 0.1), line(20, 0.2), dict(mIoU=0.4, step=1), line(30, 0.3),
        dict(mIoU=0.5, step=2), line(35, 0.35)])
    write(tmp_path / 'a', '20260102_000000', [
        line(25, 0.6), dict(mIoU=0.7, step=2), line(40, 0.7), '{"dynopool/stre'])
    log = read_log(tmp_path / 'a')
    assert log.get(HEIGHT) == [(10, 0.1), (20, 0.2), (25, 0.6), (40, 0.7)]
    # Those count in epochs: they stand behind the training step before them.
    assert log.get('mIoU') == [(20, 0.4), (25, 0.7)]
    assert log.get('nothing') == []
    # One that began anew in the same folder stands alone.
    write(tmp_path / 'a', '20260103_000000', [line(10, 0.9)])
    assert read_log(tmp_path / 'a').get(HEIGHT) == [(10, 0.9)]


def test_a_resumed_run_killed_in_its_first_line(tmp_path):
    write(tmp_path / 'a', '20260101_000000', [line(10, 0.1), line(20, 0.2)])
    write(tmp_path / 'a', '20260102_000000', ['{"dynopool/stream1/sca'])
    assert read_log(tmp_path / 'a').get(HEIGHT) == [(10, 0.1), (20, 0.2)]


@pytest.mark.parametrize('cost, task_loss', [
    (dict(loss_gmacs=0.5), 2.5),  # with lambda; with a budget in 0.3
    (dict(loss_latency=-0.5, gmacs_ratio=1.0), 3.5),  # with a budget of time in 0.3
    (dict(gmacs_plan=0.9, gmacs_slope=-0.1), 3.0),  # with a learner
])
def test_task_loss_is_the_loss_without_the_cost(tmp_path, cost, task_loss):
    write(tmp_path, '1', [line(1, loss=3.0, **cost), line(2, loss=2.0)])
    assert read_log(tmp_path).task_loss() == [(1, task_loss), (2, 2.0)]


def test_costs_of_any_name(tmp_path):
    write(tmp_path, '1', [line(1, gmacs=9.0, gmacs_ratio=1.0, gmacs_plan=1.0), line(
        2, peak_mb_ratio=0.5, gmacs_ratio=0.9, latency_ratio=0.8, **{'aux.acc_ratio': 0.1})])
    assert read_log(tmp_path).costs() == ['gmacs', 'peak_mb', 'latency']


def test_instances_and_shapes(tmp_path):
    more = {ShapeScalar('stem1', 'scale', axis).key: r for axis, r in (('h', 0.4), ('w', 0.6))}
    write(tmp_path, '1', [line(1, 0.5), line(2, 0.7, **more)])
    log = read_log(tmp_path)
    assert log.instances() == ['stream1', 'stem1'] and log.instances('size') == []
    assert log.shape('stem1', 'scale') == {'h': [(2, 0.4)], 'w': [(2, 0.6)]}
    assert log.shape('stream1', 'scale')['w'] == [(1, 0.5), (2, 0.7)]


def test_sizes_that_are_not_whole_are_left_out(tmp_path):
    """Sizes that are NaN, of one axis, or without the input's."""
    input_size = {'dynopool/input/size_h': 64, 'dynopool/input/size_w': 96}
    for k, (found, expected) in enumerate((
            (input_size | {'dynopool/stream1/size_h': float('nan'), 'dynopool/stream1/size_w': 4},
             dict(input=(64, 96))),
            (input_size | {'dynopool/stream1/size_h': 8}, dict(input=(64, 96))),
            ({'dynopool/stream1/size_h': 8, 'dynopool/stream1/size_w': 4}, {}))):
        write(tmp_path / f'{k}', '20260101_000000', [line(1, **found)])
        assert read_log(tmp_path / f'{k}').last_sizes() == expected


def test_every_way_to_name_a_run(tmp_path):
    path = write(tmp_path / 'a', '20260101_000000', [line(10)])
    copied = tmp_path / 'copied.json'
    copied.write_text(path.read_text())
    for given in (tmp_path / 'a', path.parents[1], path.parent, path, str(path)):
        log = read_log(given)
        assert log.name == 'a' and log.get('loss') == [(10, 1.0)]
    assert read_log(copied).name == 'copied'
    write(tmp_path / 'b' / 'a', '20260101_000000', [line(10)])
    names = [log.name for log in read_logs([tmp_path / 'a', tmp_path / 'b' / 'a'])]
    assert names == [f'{tmp_path.name}/a', 'b/a']
    assert read_logs([]) == []


def test_names_with_the_mode_in_front(tmp_path):
    """As LogProcessor(log_with_hierarchy=True) writes them."""
    hierarchy = {f'train/{k}' if k not in ('iter', 'step') else k: v for k, v in line(5).items()}
    write(tmp_path, '20260101_000000', [hierarchy])
    log = read_log(tmp_path)
    assert log.get('loss') == [(5, 1.0)] and log.get(HEIGHT) == [(5, 0.5)]


@pytest.mark.parametrize('content, message', [
    (None, 'is empty; give the work dir'),
    ({'notes.txt': 'x'}, 'holds no log; give the work dir'),
    ({'scalars.json': '{"loss": 1.0, "iter": 1, "step": 1}\n'},
     r'no dynopool/INSTANCE/scale_h \(it holds iter, loss\)'),
    ({'scalars.json': ''}, r'\(it holds nothing\)'),
    ({'scalars.json': '[{"image_id": 3}]\n'}, 'line 1 of .* no line of an mmengine log'),
    ({'scalars.json': '{"iter": 1}\n{"iter": 2, "step": 2}\n'}, 'line 1 of'),
    ({'scalars.json': '{"iter": 1, "st\n{"iter": 2, "step": 2}\n'}, 'line 1 of'),
    ({'scalars.json': b'\x89PNG\r\n\x1a\n\x00\xff'}, 'line 1 of'),
])
def test_what_is_no_log(tmp_path, content, message):
    folder = tmp_path / 'run'
    folder.mkdir()
    for name, text in (content or {}).items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_log(folder)


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r'there is no work dir or log .*lost'):
        read_log(tmp_path / 'lost')


@pytest.mark.parametrize('lines, message', [
    ([], r'hold no training loss \(found: nothing\); give the work dir of a training'),
    ([dict(bbox_mAP=0.3, step=1)], r'hold no training loss \(found: bbox_mAP\)'),
    ([dict(epoch=1, accuracy=0.9), line(1)], 'line 1 of'),
    (['a list'], 'is no line of an mmengine log'),
])
def test_a_log_that_need_not_have_learned(tmp_path, lines, message):
    write(tmp_path / 'bad', '1', lines)
    with pytest.raises(ValueError, match=message):
        read_log(tmp_path / 'bad', learned=False)
    write(tmp_path / 'stock', '1', [dict(loss=2.0, iter=3, step=3)])
    assert read_log(tmp_path / 'stock', learned=False).get('loss') == [(3, 2.0)]
