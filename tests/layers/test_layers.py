"""The modules on top of the operator."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d, FixedDynOPool, ShapeAdaptor
from mmseg_dynopool.layers.find import copy_replacing, input_channels, short_names
from mmseg_dynopool.layers.pool import read_alphas
from mmseg_dynopool.ops import dynopool2d
from mmseg_dynopool.ops.pooling import REDUCTIONS


class Shared(nn.Module):
    """Two convolutions behind one DynOPool, which the network owns."""

    def __init__(self):
        super().__init__()
        self.pool = DynOPool((0.5, 0.4))
        self.first = DynOPoolConv2d(self.pool, 3, 4, 3, shared=True, padding=1, bias=False)
        self.second = DynOPoolConv2d(self.pool, 4, 4, 3, shared=True, padding=1)

    def forward(self, x):
        return self.second(self.first(x))


@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_module_equals_function(reduce):
    torch.manual_seed(0)
    image = torch.randn(2, 3, 19, 26)
    for anchor, window in (('local', 4), ('center', 8), ('corner', 8)):
        pool = DynOPool((0.4, 0.7), anchor=anchor, window=window)
        alpha = pool.alpha.detach().clone().requires_grad_()
        expected = dynopool2d(image, alpha, anchor=anchor, window=window, reduce=reduce)
        assert torch.equal(pool(image, reduce=reduce), expected)
        pool(image, reduce=reduce).square().sum().backward()
        expected.square().sum().backward()
        assert torch.equal(pool.alpha.grad, alpha.grad)


def test_scale_and_initial_scale():
    pool = DynOPool((0.5, 0.25))
    torch.testing.assert_close(pool.scale, torch.tensor([0.5, 0.25]))
    torch.testing.assert_close(pool.alpha.detach(), torch.tensor([2.0, 4.0]))
    assert pool.initial_scale == (0.5, 0.25)
    assert list(pool.state_dict()) == ['alpha']
    assert not pool.scale.requires_grad and not ShapeAdaptor().scale.requires_grad


def test_a_scale_may_lie_beyond_its_bounds_by_a_rounding():
    for rounding in (-5e-7, 0.0, 5e-7):
        for bound in (0.125, 1.0):
            scale = bound * (1 + rounding)
            assert DynOPool(scale, bounds=(0.125, 1.0)).initial_scale == (scale, scale)
    for scale in (0.125 * (1 - 2e-6), 1 + 2e-6):
        with pytest.raises(ValueError, match='lies outside'):
            DynOPool(scale, bounds=(0.125, 1.0))


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
    """Its gradient is the sum of those of its uses."""
    net = Shared()
    image = torch.randn(1, 3, 41, 37)
    net(image).square().sum().backward()
    alphas = [net.pool.alpha.detach().clone().requires_grad_() for _ in range(2)]
    x = F.conv2d(dynopool2d(image, alphas[0]), net.first.weight, padding=1)
    x = F.conv2d(dynopool2d(x, alphas[1]), net.second.weight, net.second.bias, padding=1)
    x.square().sum().backward()
    torch.testing.assert_close(net.pool.alpha.grad, alphas[0].grad + alphas[1].grad)
    assert alphas[0].grad.abs().min() > 0 and alphas[1].grad.abs().min() > 0


def test_one_instance_for_a_maximum_and_an_average():
    """At its start both are the stock poolings; alpha's gradient is the sum of both."""
    pool = DynOPool()
    image = torch.randn(2, 3, 12, 16)
    assert torch.equal(pool(image), F.max_pool2d(image, 2))
    assert torch.equal(pool(image, reduce='mean'), F.avg_pool2d(image, 2))
    (pool(image) * pool(image, None, 'mean')).sum().backward()
    alphas = [pool.alpha.detach().clone().requires_grad_() for _ in range(2)]
    (dynopool2d(image, alphas[0]) * dynopool2d(image, alphas[1], reduce='mean')).sum().backward()
    torch.testing.assert_close(pool.alpha.grad, alphas[0].grad + alphas[1].grad)
    assert alphas[0].grad.abs().min() > 0 and alphas[1].grad.abs().min() > 0


@pytest.mark.parametrize('copy_of', [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_sharing_survives_copies(copy_of):
    net = copy_of(Shared())
    assert net.first.pool is net.second.pool is net.pool
    net.to(torch.float64)
    assert net.first.pool.alpha.dtype == torch.float64
    assert [k for k in net.state_dict() if 'alpha' in k] == ['pool.alpha']
    assert sum(p.numel() == 2 for p in net.parameters()) == 1


def test_a_convolution_owns_its_pool_unless_it_is_shared():
    pool = DynOPool()
    conv = DynOPoolConv2d(pool, 3, 4, 3, padding=1)
    assert [name for name, _ in conv.named_parameters()] == ['weight', 'bias', 'pool.alpha']
    assert conv.double().pool.alpha.dtype == torch.float64
    shortcut = DynOPoolConv2d(pool, 3, 4, 1, shared=True)
    assert shortcut.pool is pool
    assert [name for name, _ in shortcut.named_parameters()] == ['weight', 'bias']


def test_a_convolution_passes_the_size_on():
    conv = DynOPoolConv2d(DynOPool((0.5, 0.4)), 3, 4, 3, padding=1)
    image = torch.randn(1, 3, 20, 30)
    expected = F.conv2d(dynopool2d(image, conv.pool.alpha, (7, 13)), conv.weight, conv.bias,
                        padding=1)
    assert torch.equal(conv(image, (7, 13)), expected) and expected.shape == (1, 4, 7, 13)


def test_a_convolution_on_its_own_learns_its_scale():
    conv = DynOPoolConv2d(DynOPool(), 3, 4, 3, padding=1)
    optimizer = torch.optim.SGD(conv.parameters(), lr=0.01)
    conv(torch.randn(1, 3, 20, 20)).square().mean().backward()
    gradient = conv.pool.alpha.grad.clone()
    optimizer.step()
    assert gradient.abs().min() > 0
    torch.testing.assert_close(conv.pool.alpha.detach(), 2 - 0.01 * gradient)


def test_conv_loads_a_strided_checkpoint():
    strided = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
    conv = DynOPoolConv2d(DynOPool(), 3, 4, 3, shared=True, padding=1, bias=False)
    conv.load_state_dict(strided.state_dict())
    for size in ((21, 30), (64, 33)):
        image = torch.randn(1, 3, *size)
        assert conv(image).shape == strided(image).shape
        # At r = 0.5 and even sides DynOPool is a maximum of 2 x 2.
        even = image[..., :size[0] // 2 * 2, :size[1] // 2 * 2]
        torch.testing.assert_close(
            conv(even), F.conv2d(F.max_pool2d(even, 2), strided.weight, padding=1))


def test_frozen_is_the_same_operation():
    pool = DynOPool((0.37, 0.81))
    fixed = pool.freeze()
    image = torch.randn(1, 2, 31, 44)
    for reduce in REDUCTIONS:
        assert torch.equal(pool(image, reduce=reduce), fixed(image, reduce=reduce))
    assert pool.learns and not fixed.learns and fixed.freeze() is fixed
    assert fixed.read_alpha() == pool.read_alpha() and list(fixed.parameters()) == []
    torch.testing.assert_close(fixed.bounded_alpha(), pool.bounded_alpha().detach())
    assert FixedDynOPool.at_alpha((2.3, 1.7)).read_alpha() == (2.3, 1.7)  # to the last bit
    with pytest.raises(ValueError, match='cannot freeze or export a ShapeAdaptor'):
        ShapeAdaptor().freeze()


@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_a_fixed_one_is_exported_for_all_sizes(reduce):
    class Net(nn.Module):

        def __init__(self):
            super().__init__()
            self.pool = DynOPool((0.37, 0.81)).freeze()

        def forward(self, image):
            return self.pool(image, reduce=reduce)

    axes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(Net(), (torch.randn(2, 3, 31, 44), ),
                                  dynamic_shapes={'image': axes}, strict=False).module()
    for shape in ((2, 3, 31, 44), (1, 3, 17, 90), (3, 3, 64, 33)):
        image = torch.randn(*shape)
        torch.testing.assert_close(program(image), dynopool2d(image, (1 / 0.37, 1 / 0.81),
                                                              reduce=reduce))


def test_the_stock_scale_goes_along():
    """When the scale is made a constant, and when a stand-in counts the cost."""
    assert all(kind().stock_scale == (0.5, 0.5) for kind in (DynOPool, FixedDynOPool,
                                                             ShapeAdaptor))
    pool, adaptor = DynOPool(0.3), ShapeAdaptor()
    pool.stock_scale, adaptor.stock_scale = (0.5, 1.0), (0.25, 0.25)
    for fixed in (pool.freeze(), pool.freeze().freeze(), FixedDynOPool.with_cost_of(pool),
                  FixedDynOPool.with_cost_of(pool.freeze()), copy.deepcopy(pool)):
        assert fixed.stock_scale == (0.5, 1.0)
    assert FixedDynOPool.with_cost_of(adaptor).stock_scale == (0.25, 0.25)
    assert DynOPool().stock_scale == (0.5, 0.5), 'another instance keeps the default'


def test_a_fixed_one_can_be_given_another_scale():
    fixed = FixedDynOPool(0.5)
    fixed.set_scale_((0.2, 3.0))
    assert fixed.output_size((50, 50)) == (10, 150)
    fixed.set_alpha_((2.5, 1.25))
    assert fixed.output_size((50, 50)) == (20, 40) and fixed.initial_scale == (0.5, 0.5)


def test_the_stand_in_for_counting_has_size_and_cost():
    adaptor = ShapeAdaptor(0.6)
    fixed = FixedDynOPool.with_cost_of(adaptor)
    assert fixed.macs_per_value == adaptor.macs_per_value != FixedDynOPool.macs_per_value
    assert fixed.initial_scale == (0.6, 0.6)
    assert fixed.output_size((65, 33)) == adaptor.output_size((65, 33))


def test_alphas_in_one_read():
    pools = nn.ModuleDict(dict(a=DynOPool((0.5, 0.25)), b=FixedDynOPool((0.8, 0.4)),
                               c=DynOPool(0.125)))
    with torch.no_grad():
        pools['c'].alpha.copy_(torch.tensor([9.0, 3.0]))
    alphas = read_alphas(pools)
    assert list(alphas) == ['a', 'b', 'c']
    assert alphas['a'] == (2.0, 4.0) and alphas['c'] == (8.0, 3.0)
    assert alphas['b'] == pytest.approx((1.25, 2.5))
    with torch.no_grad():
        pools['a'].alpha[1] = float('nan')
    with pytest.raises(ValueError, match=r"'a' is not finite, \(2.0, nan\)"):
        read_alphas(pools)


def test_names_are_short_where_they_are_distinct():
    assert short_names(['backbone.dynopools.stream1', 'pool', 'a.dynopools.stream2',
                        'b.dynopools.stream2']) == {
        'backbone.dynopools.stream1': 'stream1', 'pool': 'pool',
        'a.dynopools.stream2': 'a.dynopools.stream2',
        'b.dynopools.stream2': 'b.dynopools.stream2'}
    assert short_names(['neck.pool', 'backbone.dynopools.first.pool']) == {
        'neck.pool': 'neck.pool', 'backbone.dynopools.first.pool': 'first.pool'}


def test_input_channels_are_the_images_also_of_a_grouped_convolution():
    assert input_channels(nn.Sequential(nn.ReLU(), nn.Conv2d(6, 8, 3, groups=2),
                                        nn.Conv2d(8, 4, 1))) == 6
    with pytest.raises(ValueError, match='ReLU has no convolution'):
        input_channels(nn.ReLU())


def test_replaced_in_a_copy_wherever_it_is_held():
    net = Shared()
    fixed = FixedDynOPool(0.3)
    copied = copy_replacing(net, [(net.pool, fixed)])
    assert copied.pool is copied.first.pool is copied.second.pool is fixed
    assert isinstance(net.pool, DynOPool) and copied.first is not net.first


@pytest.mark.parametrize('options, words', [
    (dict(scale=0), ['positive, got 0;']),
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
    (dict(window=0), ['window', '>= 1, got 0']),
])
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError) as error:
        DynOPool(**options)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize('pool', [DynOPool(), FixedDynOPool(), ShapeAdaptor()])
def test_an_unknown_reduction_is_named(pool):
    with pytest.raises(ValueError, match=r"reduce must be one of \('max', 'mean'\), got 'sum'"):
        pool(torch.zeros(1, 1, 4, 4), reduce='sum')


def test_conv_refuses_what_is_no_shared_pool():
    with pytest.raises(ValueError, match='Conv2d'):
        DynOPoolConv2d(nn.Conv2d(1, 1, 1), 3, 4, 3)
    with pytest.raises(ValueError, match='stride must be 1, got 2'):
        DynOPoolConv2d(DynOPool(), 3, 4, 3, stride=2)
