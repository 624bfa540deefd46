"""A learner in a loop of one's own, and trainings that go on from another state."""

import torch
from torch import nn

from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.layers import DynOPool
from mmseg_dynopool.learning import ScaleLearner


def _network():
    return nn.Sequential(DynOPool(0.5), nn.Conv2d(3, 4, 3, padding=1))


def learner_target_without_cost(bench):
    return bench.call(ScaleLearner, _network(), steps=100, target=0.5)


def learner_target_out_of_reach(bench):
    network = _network()
    cost = probe_complexity(network, (32, 32))
    return bench.call(ScaleLearner, network, steps=100, cost=cost, target=0.01)


def learner_state_of_other_poolings(bench):
    state = ScaleLearner(_network(), steps=100).state_dict()
    learner = ScaleLearner(nn.Sequential(nn.ReLU(), *_network()), steps=100)
    return bench.call(learner.load_state_dict, state)


def learner_loss_never_finite(bench):
    """After the last estimate that is tried, not before."""
    learner, tried = ScaleLearner(_network(), steps=100, every=1), []

    def loss():
        tried.append(0)
        return torch.tensor(float('nan'))

    def train():
        for _ in range(100):
            with learner.step(loss):
                pass

    seen = bench.call(train)
    assert len(tried) == 2 * 20
    return seen


def resume_without_the_line_of_the_alphas(bench):
    keys = dict(dynopools=dict(lr_mult=0.5, decay_mult=0.))
    bench.train(ok=True, config=bench.write_config(
        f'optim_wrapper = dict(paramwise_cfg=dict(custom_keys={keys!r}))'))
    return bench.train(flags=['--resume'])
