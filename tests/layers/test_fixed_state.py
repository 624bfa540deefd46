"""The scale of a FixedDynOPool in a state_dict."""

import copy
import pickle

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner.checkpoint import get_state_dict
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.func import functional_call

from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d, FixedDynOPool, freeze_pools

ALPHA = (2.7, 1.2345678901234567)  # neither is one in single precision


class Net(nn.Module):
    """The same pooling under two names."""

    def __init__(self, pool):
        super().__init__()
        self.first = DynOPoolConv2d(pool, 3, 4, 3, padding=1)
        self.second = DynOPoolConv2d(pool, 4, 4, 3, padding=1)

    def forward(self, image):
        return self.second(self.first(image))


def fixed_net(alpha=ALPHA):
    return Net(FixedDynOPool.at_alpha(alpha))


def test_a_state_has_the_keys_of_a_learned_one_and_the_exact_alpha():
    net = fixed_net()
    keys = list(Net(DynOPool()).state_dict())
    assert [key for key in keys if key.endswith('alpha')] == ['first.pool.alpha',
                                                              'second.pool.alpha']
    for state in (net.state_dict(), get_state_dict(net), net.half().state_dict(),
                  get_model_state_dict(net)):
        assert sorted(state) == sorted(keys)
        assert tuple(state['first.pool.alpha'].tolist()) == ALPHA
    with torch.device('meta'):  # a copy on the CPU, in whatever context
        state = net.state_dict()
    state['first.pool.alpha'].zero_()
    assert net.first.pool.read_alpha() == ALPHA
    assert list(net.first.pool.parameters()) == list(net.first.pool.buffers()) == []


@pytest.mark.parametrize('load', [
    lambda net, state: net.load_state_dict(state),
    lambda net, state: net.load_state_dict(state, strict=False),
    lambda net, state: net.load_state_dict(state, assign=True),
    set_model_state_dict])
def test_a_state_loads_at_its_scales(load):
    loaded = fixed_net((2, 2))
    load(loaded, fixed_net().state_dict())
    assert loaded.first.pool.read_alpha() == ALPHA
    assert loaded.first.pool.initial_scale == (0.5, 0.5)


def test_learned_and_fixed_states_load_into_each_other():
    learned, image = Net(DynOPool((0.37, 0.81))), torch.randn(1, 3, 41, 52)
    fixed, other = fixed_net((2, 2)), Net(DynOPool())
    fixed.load_state_dict(learned.state_dict())
    other.load_state_dict(fixed.state_dict())
    assert fixed.first.pool.read_alpha() == learned.first.pool.read_alpha()
    assert torch.equal(other.first.pool.alpha, learned.first.pool.alpha)
    for net in (fixed, other, freeze_pools(learned)):
        assert torch.equal(net(image), learned(image))


def test_a_state_without_scales_leaves_them():
    net = fixed_net()
    state = {key: value for key, value in net.state_dict().items() if 'alpha' not in key}
    assert net.load_state_dict(state) == ([], [])  # strict
    assert net.first.pool.read_alpha() == ALPHA
    state['first.pool.logit'] = torch.ones(())
    assert net.load_state_dict(state, strict=False) == ([], ['first.pool.logit'])


@pytest.mark.parametrize('value', [[2.0, float('nan')], [float('inf'), 2.0], [0.0, 2.0],
                                   [2.0, -1.0], [2.0, 2.0, 2.0], 2.0])
def test_a_scale_that_is_none_is_named(value):
    pool = FixedDynOPool.at_alpha(ALPHA)
    with pytest.raises(RuntimeError, match=r'alpha must be .* positive and finite, got ') as error:
        pool.load_state_dict(dict(alpha=torch.tensor(value)), strict=False)
    assert f'got {value};' in str(error.value) and pool.read_alpha() == ALPHA


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_keep_the_state(copied):
    net = copied(fixed_net())
    assert net.first.pool is net.second.pool
    assert tuple(net.state_dict()['second.pool.alpha'].tolist()) == ALPHA


def test_averages_leave_the_scale():
    net = fixed_net()
    average = ExponentialMovingAverage(net, momentum=0.5, update_buffers=True)
    for _ in range(2):
        average.update_parameters(net)
    assert average.module.first.pool.read_alpha() == ALPHA
    average.load_state_dict({key: value for key, value in average.state_dict().items()
                             if 'alpha' not in key})  # of an older version; strict


def test_a_functional_call_takes_a_state():
    pool, other = FixedDynOPool.at_alpha(ALPHA), FixedDynOPool.at_alpha((1.5, 4.0))
    pooled = functional_call(pool, other.state_dict(), (torch.randn(1, 3, 41, 52), ))
    assert pooled.shape == (1, 3, 27, 13) and pool.read_alpha() == ALPHA


@pytest.mark.parametrize('strict', [False, True])
def test_an_exported_program_has_no_scale_in_its_state(strict):
    net, image = fixed_net(), torch.randn(1, 3, 41, 52)
    program = torch.export.export(net, (image, ), strict=strict)
    assert set(program.state_dict) == {name for name, _ in net.named_parameters()}
    torch.testing.assert_close(program.module()(image), net(image))


@pytest.mark.parametrize('scale', [1e-40, 1e39, (0.5, 1e-30)])
def test_scales_whose_alpha_single_precision_cannot_hold_are_refused(scale):
    with pytest.raises(ValueError, match=r'lies outside bounds=\(1e-09, 1000000000\.0\)'):
        FixedDynOPool(scale)
