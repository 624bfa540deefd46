"""Moving averages of the weights: mmengine's EMAHook and torch's AveragedModel."""

import pytest
import torch
from mmengine.hooks import EMAHook
from mmseg.registry import MODELS
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.layers import DynOPool, learned_pools
from mmseg_dynopool.ops import pooled_size
from support.runs import Watch, alphas_of, small_segmentor, train

AVERAGES = [
    dict(ema_type='ExponentialMovingAverage', momentum=0.2),
    dict(ema_type='MomentumAnnealingEMA', momentum=0.1, gamma=1),
    dict(ema_type='StochasticWeightAverage', update_buffers=True),
]


def average_by_hand(alphas, ema_type, momentum=None, gamma=None, update_buffers=False):
    """Running averages of a sequence, by the formulas of their documentation."""
    averages = [alphas[0].double()]
    for n, alpha in enumerate(alphas[1:], 1):
        share = 1 / (n + 1) if ema_type == 'StochasticWeightAverage' else momentum
        if gamma is not None:
            share = max(momentum, gamma / (gamma + n))
        averages.append((1 - share) * averages[-1] + share * alpha.double())
    return averages


class WatchAverages(Watch):
    """Notes averaged alphas, and what the network ran with in validation."""

    def __init__(self):
        super().__init__()
        self.averages, self.evaluated, self.restored = [], [], []

    def before_train(self, runner):
        self.ema, = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
        for pool in (m for m in runner.model.modules() if isinstance(m, DynOPool)):
            pool.register_forward_hook(self.note)

    def note(self, pool, args, output):
        if not pool.training:
            self.evaluated[-1].append((tuple(args[0].shape[-2:]), tuple(output.shape[-2:]),
                                       pool.alpha.tolist()))

    def after_train_iter(self, runner, *args, **kwargs):
        super().after_train_iter(runner, *args, **kwargs)
        self.averages.append(alphas_of(self.ema.ema_model))

    def before_val_epoch(self, runner):
        self.evaluated.append([])

    def after_val_epoch(self, runner, metrics=None):
        self.restored.append(alphas_of(runner.model))


@pytest.mark.parametrize('average', AVERAGES, ids=lambda a: a['ema_type'])
def test_averages_and_what_is_evaluated(tmp_path, average):
    watch = WatchAverages()
    cost = small_segmentor(gmacs_weight=100., backbone=dict(dynopool=dict(bounds=(0.25, 1.0))))
    train(tmp_path, cost, 8, [dict(type='EMAHook', **average), watch], alpha_lr=0.5,
          val_interval=4)
    expected = average_by_hand(watch.alphas, **average)
    assert (watch.alphas[-1] - 2).abs().min() > 0.1  # else there is nothing to average
    assert not torch.equal(watch.alphas[-1], watch.averages[-1])
    for found, hand in zip(watch.averages, expected, strict=True):
        torch.testing.assert_close(found.double(), hand, rtol=1e-6, atol=0)
        assert (found >= 1).all() and (found <= 4).all()

    differing = 0
    for when, evaluated, restored in zip((3, 7), watch.evaluated, watch.restored, strict=True):
        assert torch.equal(restored, watch.alphas[when])
        averages = watch.averages[when].tolist()
        assert {tuple(alpha) for _, _, alpha in evaluated} == set(map(tuple, averages))
        for size, pooled, alpha in evaluated:
            assert pooled == pooled_size(size, alpha)
            learned = watch.alphas[when][averages.index(alpha)].tolist()
            differing += pooled != pooled_size(size, learned)
    assert differing > 0  # the averaged alphas give sizes of their own


def test_averaged_network_meets_the_budget(tmp_path):
    """The checkpoint's weights are the averaged ones, and the alphas the settled ones."""
    model = small_segmentor(gmacs_budget=dict(target=1.6), gmacs_shape=(256, 384))
    watch = WatchAverages()
    runner = train(tmp_path, model, 20, [dict(type='EMAHook', momentum=0.01), watch])
    hook, = (hook for hook in runner.hooks if isinstance(hook, DynOPoolHook))
    settled = torch.tensor(list(hook.keeper.scales.alphas(hook.keeper.settled).values()))
    assert (settled - 2).abs().max() > 0.2
    assert not torch.equal(watch.averages[15], watch.alphas[15])  # before: they lag behind
    for alphas, averages in zip(watch.alphas[16:], watch.averages[16:]):  # 0.85 * 20 is done
        assert torch.equal(alphas, settled) and torch.equal(averages, settled)

    saved = torch.load(tmp_path / 'iter_20.pth', weights_only=False)
    averaged = MODELS.build(model)
    start = averaged.count_gmacs()
    averaged.load_state_dict(saved['state_dict'])
    assert torch.equal(alphas_of(averaged), settled)
    assert averaged.count_gmacs() / start == pytest.approx(1.6, rel=0.02)
    weight = 'backbone.stage2.0.branches.0.0.conv1.weight'
    assert not torch.equal(saved['state_dict'][weight], saved['ema_state_dict'][f'module.{weight}'])


def test_averaged_model_of_torch_and_its_batch_norm():
    model = MODELS.build(small_segmentor())
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.75))
    generator = torch.Generator().manual_seed(0)
    alphas = []
    for _ in range(4):
        for pool in learned_pools(model).values():
            with torch.no_grad():
                pool.alpha.add_(torch.rand(2, generator=generator))
        averaged.update_parameters(model)
        alphas.append(alphas_of(model))
    expected = average_by_hand(alphas, 'ExponentialMovingAverage', 0.25)[-1]
    torch.testing.assert_close(alphas_of(averaged).double(), expected, rtol=1e-6, atol=0)

    inputs = []
    norm = averaged.module.backbone.transition1[1][0][1]  # behind the last DynOPool
    norm.register_forward_pre_hook(lambda module, args: inputs.append(args[0].detach()))
    update_bn([torch.randn(2, 3, 64, 96, generator=generator) for _ in range(3)], averaged)
    mean = torch.stack([x.mean((0, 2, 3)) for x in inputs]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    size = (64, 96)
    for pool in averaged.module.backbone.dynopools.values():
        size = pooled_size(size, pool.alpha.tolist())
    assert all(x.shape[-2:] == size for x in inputs)
