"""Mean and noise of alpha's gradient in the log, against gradients that are known."""

import copy
import pickle

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.hooks import ShapeLogHook
from mmseg_dynopool.hooks.shape_log_hook import GradientNoise, GradientWindow
from mmseg_dynopool.layers import DynOPool
from support.runs import segmentor, train
from support.toy_runs import Images, ScaledWrapper, run, scalars

# The gradient of (alpha_h, alpha_w) in each iteration.
KNOWN = torch.tensor([[0.01, -0.03], [0.02, 0.05], [0.06, -0.02], [-0.01, 0.01], [0.02, -0.04],
                      [0.03, -0.07], [0.05, 0.02], [-0.02, 0.03]])


class Known(BaseModel):
    """The loss is linear in alpha: its gradient in iteration t is KNOWN[t]."""

    def __init__(self):
        super().__init__()
        self.dynopools = nn.ModuleDict(dict(stream1=DynOPool(0.5, bounds=(0.1, 1.0))))
        self.weight = nn.Parameter(torch.ones(1))
        self.step = 0

    def forward(self, inputs, mode='tensor'):
        alpha = self.dynopools['stream1'].alpha
        self.step += 1
        return dict(loss=4 * self.weight.sum() + KNOWN[self.step - 1] @ alpha)


def logger(interval, **options):
    return dict(logger=dict(type='LoggerHook', interval=interval, **options))


def check(line, gradients):
    """One line of the log against the gradients of its window, ``(steps, 2)``."""
    gradients = np.asarray(gradients, np.float64)
    for axis, values in zip('hw', gradients.T):
        found = [line[f'dynopool/stream1/grad_{key}_{axis}'] for key in ('mean', 'std', 'snr')]
        mean, std = values.mean(), values.std(ddof=1)
        assert found == pytest.approx([mean, std, abs(mean) / std], rel=1e-5)


class Long(Images):

    def __len__(self):
        return 16


@pytest.fixture
def long_epochs(monkeypatch):
    """One epoch of 8 batches, so that lines are as far apart as their interval."""
    monkeypatch.setattr('support.toy_runs.Images', Long)


@pytest.mark.parametrize('interval', [2, 4])
def test_each_line_has_its_own_window(tmp_path, long_epochs, interval):
    run(tmp_path, Known(), 8, default_hooks=logger(interval))
    lines = scalars(tmp_path)
    assert [line['step'] for line in lines] == list(range(interval, 9, interval))
    for line in lines:
        check(line, KNOWN[line['step'] - interval:line['step']])


def test_a_window_of_one_step_goes_on_to_the_next_line(tmp_path, long_epochs):
    run(tmp_path, Known(), 8, default_hooks=logger(1))
    lines = scalars(tmp_path)
    assert len(lines) == 8 and 'dynopool/stream1/grad_mean_h' not in lines[0]
    for step in (2, 4, 6, 8):
        check(lines[step - 1], KNOWN[step - 2:step])


def test_the_last_iterations_of_an_epoch_where_the_logger_writes_them(tmp_path, long_epochs):
    run(tmp_path, Known(), 8, default_hooks=logger(5, ignore_last=False))
    lines = scalars(tmp_path)
    assert [line['step'] for line in lines] == [5, 8]
    check(lines[0], KNOWN[:5])
    check(lines[1], KNOWN[5:])


def test_accumulated_gradients_count_once_per_step(tmp_path, long_epochs):
    run(tmp_path, Known(), 8, default_hooks=logger(4), accumulative_counts=2)
    steps = KNOWN.view(4, 2, 2).mean(1)  # what the optimizer gets
    for line, first in zip(scalars(tmp_path), (0, 2), strict=True):
        check(line, steps[first:first + 2])


def test_without_the_scale_and_the_skipped_steps_of_mixed_precision(tmp_path, long_epochs):
    """The weight's gradient of 4 overflows twice; alpha's own would not."""
    runner = run(tmp_path, Known(), 8, default_hooks=logger(8), type=ScaledWrapper,
                 init_scale=2.**127)
    assert runner.optim_wrapper.skipped == [True, True] + 6 * [False]
    check(scalars(tmp_path)[0], KNOWN[2:])


@pytest.mark.parametrize('fused', [False, True])
def test_the_loss_scale_is_divided_out(fused):
    """A fused optimizer unscales by itself, inside of its step."""
    alpha = nn.Parameter(torch.tensor([2.0, 2.0]))
    optimizer = torch.optim.SGD([alpha], lr=0.1, fused=fused)
    window = GradientWindow(optimizer, [alpha])
    scaler = torch.amp.GradScaler('cpu', init_scale=1024.)
    for gradient in KNOWN[:3]:
        scaler.scale(gradient @ alpha).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=False)  # writes into the gradient
    torch.testing.assert_close(window.stack()[:, 0], KNOWN[:3])
    window.remove()
    alpha.grad = torch.ones(2)
    optimizer.step()
    assert len(window) == 3
    window.clear()
    assert len(window) == 0


def test_noise_of_few_equal_and_endless_gradients():
    assert GradientNoise.of([1.0]) is None
    assert GradientNoise.of([1.0, float('nan'), float('inf')]) is None
    assert GradientNoise.of([2.0, 2.0]) == GradientNoise(2.0, 0.0, None)
    found = GradientNoise.of([1.0, float('nan'), 3.0])
    assert (found.mean, found.std, found.snr) == pytest.approx((2, 2**0.5, 2**0.5))


def test_a_frozen_alpha_has_no_gradient(tmp_path):
    model = Known()
    model.dynopools['stem'] = DynOPool()
    model.dynopools['stem'].requires_grad_(False)
    run(tmp_path, model, 4, default_hooks=logger(2))
    line = scalars(tmp_path)[-1]
    assert 'dynopool/stem/alpha_h' in line and 'dynopool/stem/grad_mean_h' not in line
    check(line, KNOWN[2:4])


class Copies(DynOPoolHook):

    def after_train_iter(self, runner, *args, **kwargs):
        super().after_train_iter(runner, *args, **kwargs)
        self.copies = [copy.deepcopy(runner.model), pickle.loads(pickle.dumps(runner.model))]


def test_models_in_training_are_copied_and_pickled_and_hooks_go_after_it(tmp_path):
    model, hook = Known(), Copies()
    runner = run(tmp_path, model, 3, [hook, dict(type='EMAHook')], default_hooks=logger(2))
    alpha = model.dynopools['stream1'].alpha
    assert all(torch.equal(m.dynopools['stream1'].alpha, alpha) for m in hook.copies)
    assert not runner.optim_wrapper.optimizer._optimizer_step_pre_hooks
    assert not alpha._backward_hooks


def test_nothing_is_kept_where_nobody_logs(tmp_path, long_epochs):
    kept = []

    class Watching(ShapeLogHook):

        def after_train_iter(self, *args, **kwargs):
            super().after_train_iter(*args, **kwargs)
            kept.append(self._gradients and len(self._gradients))

    for name, hooks in dict(silent=dict(logger=None), logged=logger(3)).items():
        run(tmp_path / name, Known(), 2, [DynOPoolHook(), Watching()], default_hooks=hooks)
    assert kept == [None, None, 1, 2]


def test_sizes_are_those_of_the_next_forward_pass(tmp_path):
    """At the crop of 64 x 96, with alphas that moved; the cost stands beside them."""
    runner = train(tmp_path, segmentor(gmacs_weight=3000.), 4, alpha_lr=0.02)
    backbone = runner.model.backbone
    seen = {}
    for name, pool in backbone.dynopools.items():
        pool.register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: output.shape[2:]}))
    first, *_ = backbone(torch.zeros(1, 3, 64, 96, device=next(backbone.parameters()).device))
    line = scalars(tmp_path)[-1]
    assert seen['stream1'] != (8, 12)
    for name, size in dict(seen, input=(64, 96), stream0=first.shape[2:]).items():
        assert (line[f'dynopool/{name}/size_h'], line[f'dynopool/{name}/size_w']) == tuple(size)
    assert line['gmacs_ratio'] == pytest.approx(
        line['gmacs'] / next(
            hook.cost.initial for hook in runner.hooks if isinstance(hook, DynOPoolHook)))
