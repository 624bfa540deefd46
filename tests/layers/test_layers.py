"""The modules on top of the operator."""

import copy
import pickle

import pytest
import torch
from torch import nn

from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d
from mmseg_dynopool.ops import dynopool2d


class Shared(nn.Module):
    """Two convolutions behind one DynOPool."""

    def __init__(self):
        super().__init__()
        self.pool = DynOPool((0.5, 0.4))
        self.first = DynOPoolConv2d(self.pool, 3, 4, 3, padding=1, bias=False)
        self.second = DynOPoolConv2d(self.pool, 4, 4, 3, padding=1)

    def forward(self, x):
        return self.second(self.first(x))


def test_module_equals_function():
    torch.manual_seed(0)
    image = torch.randn(2, 3, 19, 26)
    for anchor, window in (('local', 4), ('center', 8), ('corner', 8)):
        pool = DynOPool((0.4, 0.7), anchor=anchor, window=window)
        alpha = pool.alpha.detach().clone().requires_grad_()
        expected = dynopool2d(image, alpha, anchor=anchor, window=window)
        assert torch.equal(pool(image), expected)
        pool(image).square().sum().backward()
        expected.square().sum().backward()
        assert torch.equal(pool.alpha.grad, alpha.grad)


def test_scale_and_initial_scale():
    pool = DynOPool((0.5, 0.25))
    torch.testing.assert_close(pool.scale, torch.tensor([0.5, 0.25]))
    torch.testing.assert_close(pool.alpha.detach(), torch.tensor([2.0, 4.0]))
    assert pool.initial_scale == (0.5, 0.25)
    assert list(pool.state_dict()) == ['alpha']


def test_bound_holds_in_forward_and_lets_alpha_come_back():
    pool = DynOPool(0.5, bounds=(0.25, 1.0))
    with torch.no_grad():
        pool.alpha.copy_(torch.tensor([0.5, 9.0]))
    written = pool.alpha.detach().clone()
    image = torch.randn(1, 2, 16, 16)
    output = pool(image)
    assert output.shape == (1, 2, 16, 4)
    assert torch.equal(pool.alpha, written), 'forward must not write the parameter'
    output.square().sum().backward()
    assert pool.alpha.grad.abs().min() > 0
    torch.testing.assert_close(pool.scale, torch.tensor([1.0, 0.25]))
    pool.project_()
    assert pool.alpha.tolist() == [1.0, 4.0]


def test_an_alpha_far_out_is_clamped_exactly():
    pool = DynOPool(0.5, bounds=(0.25, 1.0))
    with torch.no_grad():
        pool.alpha.copy_(torch.tensor([1e9, -1e9]))
    assert pool.bounded_alpha().tolist() == [4.0, 1.0]


def test_one_instance_many_times_in_one_forward():
    net = Shared()
    net(torch.randn(1, 3, 40, 40)).sum().backward()
    assert net.pool.alpha.grad.isfinite().all()


@pytest.mark.parametrize('copy_of', [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_sharing_survives_copies(copy_of):
    net = copy_of(Shared())
    assert net.first.pool is net.second.pool is net.pool
    net.to(torch.float64)
    assert net.first.pool.alpha.dtype == torch.float64
    assert [k for k in net.state_dict() if 'alpha' in k] == ['pool.alpha']
    assert sum(p.numel() == 2 for p in net.parameters()) == 1


def test_conv_loads_a_strided_checkpoint():
    strided = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
    conv = DynOPoolConv2d(DynOPool(), 3, 4, 3, padding=1, bias=False)
    conv.load_state_dict(strided.state_dict())
    image = torch.randn(1, 3, 21, 30)
    assert conv(image).shape == strided(image).shape


@pytest.mark.parametrize('options, words', [
    (dict(scale=0), ['positive', '0']),
    (dict(scale=-0.5), ['positive', '-0.5']),
    (dict(scale=float('nan')), ['finite', 'nan']),
    (dict(scale=(0.5, 0.5, 0.5)), ['pair', '(0.5, 0.5, 0.5)']),
    (dict(scale='half'), ['number', "'half'"]),
    (dict(scale=1.5), ['bounds', '1.5']),
    (dict(scale=(0.5, 0.01)), ['bounds', '0.01']),
    (dict(bounds=(0.5, )), ['bounds', '(0.5,)']),
    (dict(bounds=(1.0, 0.5)), ['bounds', '(1.0, 0.5)']),
    (dict(bounds=(0.0, 1.0)), ['bounds', '(0.0, 1.0)']),
    (dict(anchor='left'), ['anchor', "'left'"]),
    (dict(window=0), ['window', '0']),
])
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError) as error:
        DynOPool(**options)
    for word in words:
        assert word in str(error.value)


def test_conv_refuses_what_is_no_shared_pool():
    with pytest.raises(ValueError, match='Conv2d'):
        DynOPoolConv2d(nn.Conv2d(1, 1, 1), 3, 4, 3)
    with pytest.raises(ValueError, match='stride must be 1, got 2'):
        DynOPoolConv2d(DynOPool(), 3, 4, 3, stride=2)
