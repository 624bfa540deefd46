"""Runs of version 0.3 that are resumed: their checkpoints had the state of a controller."""

import math

import pytest
import torch

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.layers import learned_pools
from support.runs import Watch, small_segmentor, train

WIDE = (256, 384)


def config():
    """As 0.3 wrote it: the budget on the model."""
    return small_segmentor(gmacs_budget=dict(target=1.2), gmacs_shape=WIDE)


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, DynOPoolHook))


@pytest.fixture(scope='module')
def old(tmp_path_factory):
    """A run of 20 iterations and its checkpoints at 1, 10 and 20, in 0.3's layout."""
    folder = tmp_path_factory.mktemp('old')
    runner = train(folder, config(), 20, hook=dict(gradient='straight_through'), save_every=1)
    start = hook_of(runner).keeper.plan.start
    for iteration in (1, 10, 20):
        path = folder / f'iter_{iteration}.pth'
        checkpoint = torch.load(path, weights_only=False)
        state = checkpoint.pop('dynopool')['keeper']
        alphas = [v for k, v in checkpoint['state_dict'].items() if k.endswith('.alpha')]
        checkpoint['gmacs_budget'] = dict(
            multiplier=0.3, integral=0.1, sensitivity=0.01,
            start_cost=start if iteration > 1 else 0.0,
            settled=torch.cat(alphas) if state['settled'] else None)
        torch.save(checkpoint, path)
    return folder, runner


class Costs(Watch):

    def after_train_iter(self, runner, *args, **kwargs):
        cost = hook_of(runner).cost
        self.alphas.append(cost({name: pool.alpha.detach().double() for name, pool in
                                 learned_pools(runner.model).items()}).item() / cost.initial)


@pytest.mark.parametrize('iteration', [1, 10])
def test_it_goes_on_at_its_place_in_the_plan(old, tmp_path, iteration, caplog):
    watch = Costs()
    runner = train(tmp_path, config(), 20, [watch], resume=old[0] / f'iter_{iteration}.pth')
    wanted = [math.exp(math.log(1.2) * min(1, max(0, (t / 20 - 0.1) / 0.4)))
              for t in range(iteration + 1, 17)]
    assert watch.alphas[:len(wanted)] == pytest.approx(wanted, rel=1e-4)
    hook = hook_of(runner)
    assert hook.learner.done == 20 and hook.keeper.settled is not None
    counted = runner.model.count_gmacs(WIDE) / hook.cost.counted(runner.model)(
        {name: [2.0, 2.0] for name in learned_pools(runner.model)})
    assert counted == pytest.approx(1.2, rel=0.02)


def test_what_had_settled_stays(old, tmp_path):
    folder, first = old
    runner = train(tmp_path, config(), 24, resume=folder / 'iter_20.pth')
    for name, pool in learned_pools(runner.model).items():
        torch.testing.assert_close(pool.alpha, learned_pools(first.model)[name].alpha,
                                   rtol=1e-6, atol=0)


def test_without_its_line_the_optimizer_does_not_fit(old, tmp_path):
    with pytest.raises(ValueError, match=r'keep its line until the run ends: .*dynopools'):
        train(tmp_path, config(), 20, alpha_lr=None, resume=old[0] / 'iter_10.pth')
