"""MeasuredGradientHook in trainings by mmengine's Runner."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.hooks import MeasuredGradientHook
from mmseg_dynopool.layers import DynOPool, measure_alpha_gradient
from support.runs import Watch, segmentor, train
from support.toy_runs import run

SLOPES = torch.tensor([0.02, -0.03])  # by the logarithm of alpha
STEM = dict(dynopool=dict(stem=True))


class Known(BaseModel):
    """The task's loss is linear in the logarithm of alpha, the cost's in alpha.

    Neither the pooling nor its positions take part: what moves alpha is measured.
    """

    def __init__(self, cost=0.0):
        super().__init__()
        self.dynopools = nn.ModuleDict(dict(stream1=DynOPool(0.5, bounds=(0.1, 1.0))))
        self.weight = nn.Parameter(torch.ones(1))
        self.cost = cost
        self.evaluated = 0

    def forward(self, inputs, mode='tensor'):
        alpha = self.dynopools['stream1'].alpha
        self.evaluated += 1
        task = (SLOPES * alpha.detach().log()).sum() + 0 * self.weight.sum()
        return dict(loss=task, loss_gmacs=self.cost * alpha.sum())


def trained(tmp_path, iterations=8, cost=0.0, every=1, model=None, hooks=(), fused=False,
            **wrapper):
    """Alpha's mean gradient over a training of small steps."""
    model = model or Known(cost)
    keys = {'dynopools': dict(lr_mult=1e-4, decay_mult=0.)}
    start = model.dynopools['stream1'].alpha.detach().clone()
    hooks = [DynOPoolHook(), MeasuredGradientHook(every), *hooks]
    runner = run(tmp_path, model, iterations, hooks, keys, optimizer=dict(
        type='SGD', lr=1., weight_decay=0., fused=fused), **wrapper)
    rates = [(1 - i / iterations)**0.9 * 1e-4 for i in range(iterations)]
    return (start - model.dynopools['stream1'].alpha.detach()) / sum(rates), runner


def test_alpha_moves_by_the_measured_gradient(tmp_path):
    found, runner = trained(tmp_path, iterations=64)
    torch.testing.assert_close(found, SLOPES / 2, rtol=0.1, atol=2e-4)
    assert runner.model.evaluated == 3 * 64


def test_the_costs_own_gradient_acts_once_and_is_not_measured(tmp_path):
    found, _ = trained(tmp_path, iterations=64, cost=0.05)
    torch.testing.assert_close(found, SLOPES / 2 + 0.05, rtol=0.1, atol=2e-4)


def test_a_measured_step_counts_for_those_between(tmp_path):
    found, runner = trained(tmp_path, iterations=256, every=4)
    torch.testing.assert_close(found, SLOPES / 2, rtol=0.1, atol=2e-4)
    assert runner.model.evaluated == 256 + 2 * 64


def test_accumulated_gradients(tmp_path):
    model = Known()
    trained(tmp_path, iterations=16, every=2, model=model, accumulative_counts=2)
    assert model.evaluated == 16 + 2 * 4  # every second of eight steps


class Scaled(Hook):
    """What a loss scaler tells a fused optimizer, which divides the gradients by it."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        runner.optim_wrapper.optimizer.grad_scale = torch.tensor(1024.)


def test_a_fused_optimizer_gets_it_scaled(tmp_path):
    found, _ = trained(tmp_path, iterations=64, hooks=[Scaled()], fused=True)
    torch.testing.assert_close(found, SLOPES / 2, rtol=0.1, atol=2e-4)


def test_the_network_learns_its_shape_and_meets_its_budget(tmp_path):
    watch = Watch()
    runner = train(tmp_path, segmentor(backbone=STEM, gmacs_budget=dict(target=0.8)),
                   iterations=40, alpha_lr=0.02,
                   hooks=[dict(type='MeasuredGradientHook', every=2), watch])
    alphas = torch.stack(watch.alphas)
    assert (alphas[19] != alphas[0]).all()
    assert {pool.anchor for pool in runner.model.pools().values()} == {'none'}
    assert torch.equal(alphas[-1], alphas[-6])  # settled
    ratio = runner.model.count_gmacs() / runner.model.cost.initial_gmacs
    assert ratio == pytest.approx(0.8, abs=0.01)
    # The running statistics are those of the batches alone.
    plain = train(tmp_path / 'plain', iterations=1, alpha_lr=0.0)
    measured = train(tmp_path / 'measured', iterations=1, alpha_lr=0.0,
                     hooks=[dict(type='MeasuredGradientHook', every=1)])
    for (key, value), other in zip(plain.model.state_dict().items(),
                                   measured.model.state_dict().values(), strict=True):
        assert torch.equal(value, other), key


@pytest.fixture
def turns(monkeypatch):
    """The numbers of the estimates that are made."""
    made = []

    def note(model, pools, loss, turn, step):
        made.append(turn)
        return measure_alpha_gradient(model, pools, loss, turn, step)

    monkeypatch.setattr('mmseg_dynopool.hooks.measured_gradient.measure_alpha_gradient', note)
    return made


def test_nothing_is_measured_once_the_budget_has_settled(tmp_path, turns):
    train(tmp_path, segmentor(backbone=STEM, gmacs_budget=dict(target=0.8, settle=0.6)),
          iterations=10, alpha_lr=0.02, hooks=[dict(type='MeasuredGradientHook', every=1)])
    assert turns == list(range(6))


def test_a_resumed_run_goes_on_with_the_turns(tmp_path, turns):
    options = dict(hooks=[dict(type='MeasuredGradientHook', every=2)], iterations=8, alpha_lr=0.02)
    train(tmp_path / 'whole', save_every=5, **options)
    assert turns == [0, 1, 2, 3]
    turns.clear()
    train(tmp_path / 'resumed', resume=tmp_path / 'whole' / 'iter_5.pth', **options)
    assert turns == [2, 3]


def test_frozen_alphas_stay(tmp_path):
    """frozen_stages=1 freezes stream 1, too; the others learn."""
    model = train(tmp_path, segmentor(backbone=dict(frozen_stages=1)), iterations=4,
                  hooks=[dict(type='MeasuredGradientHook', every=1, step=0.5)]).model
    alphas = {name.rpartition('.')[2]: pool.alpha for name, pool in model.pools().items()}
    assert [name for name, alpha in alphas.items() if (alpha != 2).any()] == ['stream2', 'stream3']
    assert alphas['stream1'].grad is None  # an optimizer that holds it would step


@pytest.mark.parametrize('options, message', [
    (dict(every=0), 'every must be'), (dict(every=1.5), 'every must be'),
    (dict(step=0), 'step must be'), (dict(step=1.0), 'step must be')])
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MeasuredGradientHook(**options)


def test_a_shape_adaptor_needs_no_measuring(tmp_path):
    with pytest.raises(ValueError, match='ShapeAdaptor'):
        train(tmp_path, segmentor(backbone=dict(dynopool=dict(type='ShapeAdaptor'))),
              hooks=[dict(type='MeasuredGradientHook')])
