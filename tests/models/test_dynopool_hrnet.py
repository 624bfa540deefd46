"""The backbone: against the stock HRNet, and its sharing of DynOPools."""

import copy
import pickle
import weakref
from functools import partial

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmseg.models.backbones import HRNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmseg_dynopool import DynOPoolHRNet
from mmseg_dynopool.costs import count_gmacs
from mmseg_dynopool.layers import DynOPool, FixedDynOPool, ShapeAdaptor
from mmseg_dynopool.models.hr_module import PooledFeatures
from mmseg_dynopool.ops import dynopool2d, pooled_size
from support.networks import kept_bytes
from support.toys import hrnet_extra, w48_extra

NETWORKS = {
    'W48': w48_extra(),
    'W18-small': hrnet_extra((18, 36, 72, 144), modules=(1, 1, 3, 2), blocks=2),
    'tiny': hrnet_extra(),
}


def shapes(features):
    return [tuple(y.shape) for y in features]


def set_scale(net, name, scale):
    with torch.no_grad():
        net.dynopools[name].alpha.copy_(1 / torch.tensor(scale))


@pytest.mark.parametrize('name', NETWORKS)
def test_equals_stock_at_the_start(name):
    """Weights, sizes and multiply-adds; only the alphas are new."""
    stock, net = HRNet(NETWORKS[name]), DynOPoolHRNet(NETWORKS[name])
    missing, unexpected = net.load_state_dict(stock.state_dict(), strict=False)
    assert unexpected == []
    assert missing == [f'dynopools.stream{k}.alpha' for k in (1, 2, 3)]
    assert list(net.state_dict())[:-3] == list(stock.state_dict())
    parameters = [sum(p.numel() for p in m.parameters()) for m in (stock, net)]
    assert parameters[1] == parameters[0] + 3 * 2
    for shape in ((64, 128), (96, 96)):
        assert gmacs_without_pooling(net, shape) == pytest.approx(
            gmacs_without_pooling(stock, shape), rel=1e-12)


def gmacs_without_pooling(net, shape):
    """Of the convolutions in a pass over a real image, by PyTorch's own counter."""
    net.eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, *shape))
    return counter.get_total_flops() / 2e9


class Reduce(nn.Module):
    """A strided convolution taken apart: pool, then the same weights with stride 1."""

    def __init__(self, conv, scale):
        super().__init__()
        self.conv = conv
        self.conv.stride = (1, 1)
        self.alpha = 1 / torch.tensor(scale)

    def forward(self, x):
        if self.alpha.tolist() == [2.0, 2.0]:
            return self.conv(torch.nn.functional.max_pool2d(x, 2))
        return self.conv(dynopool2d(x, self.alpha))


@pytest.mark.parametrize('scales', [[(0.5, 0.5)] * 3, [(0.4, 0.7), (0.6, 0.5), (0.8, 0.3)]])
def test_features_are_those_of_the_stock_network_taken_apart(scales):
    """The stock network's own forward pass, each strided convolution replaced by rule 3."""
    net = DynOPoolHRNet(NETWORKS['tiny'], dynopool=dict(
        scale={f'stream{k + 1}': scale for k, scale in enumerate(scales)}))
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.weight)
            nn.init.normal_(m.bias)
    stock = HRNet(NETWORKS['tiny'])
    stock.load_state_dict({k: v for k, v in net.state_dict().items() if 'alpha' not in k})
    for k in (1, 2, 3):
        step = getattr(stock, f'transition{k}')[k][0]
        step[0] = Reduce(step[0], scales[k - 1])
        for module in getattr(stock, f'stage{k + 1}'):
            for i, row in enumerate(module.fuse_layers):
                for j, chain in enumerate(row):
                    if j < i:
                        for s, step in enumerate(chain):
                            step[0] = Reduce(step[0], scales[j + s])
                    elif j > i:
                        chain[2] = nn.Identity()  # leaves the resize to the real size
    for m in (net, stock):
        m.eval()
    image = torch.randn(2, 3, 64, 96)
    for ours, theirs in zip(net(image), stock(image), strict=True):
        assert ours.shape == theirs.shape and theirs.std() > 1e-3
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('image, words', [
    (torch.zeros(3, 64, 64), ['4-D', '(3, 64, 64)']),
    (torch.zeros(1, 3, 0, 64), ['empty', '(1, 3, 0, 64)']),
    (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), ['floating', 'uint8']),
])
def test_a_bad_image_is_named(image, words):
    with pytest.raises(ValueError) as error:
        DynOPoolHRNet(NETWORKS['tiny'])(image)
    for word in words:
        assert word in str(error.value)


def test_w48_has_the_published_numbers():
    net = DynOPoolHRNet(w48_extra())
    assert sum(p.numel() for p in net.parameters()) - 6 == pytest.approx(65.325e6, rel=1e-5)
    # A quarter of the published 512 x 1024 on each side: every size is a quarter.
    assert 16 * gmacs_without_pooling(net, (128, 256)) == pytest.approx(169.44, abs=0.01)
    assert count_gmacs(net, (512, 1024)) == pytest.approx(16 * count_gmacs(net, (128, 256)))


@pytest.mark.parametrize('size', [(64, 64), (65, 97), (33, 50), (101, 37), (224, 1)])
@pytest.mark.parametrize('stem', [False, True])
def test_sizes_are_the_stock_ones_at_odd_sizes(size, stem):
    extra = hrnet_extra()
    image = torch.randn(1, 3, *size)
    stock, net = HRNet(extra), DynOPoolHRNet(extra, dynopool=dict(stem=stem))
    for m in (stock, net):
        m.eval()
    assert shapes(net(image)) == shapes(stock(image))


def test_sizes_follow_the_scales_of_each_axis():
    net = DynOPoolHRNet(hrnet_extra(), dynopool=dict(
        stem=True, scale=dict(stem1=(0.5, 0.25), stem2=0.72, stream2=(0.3, 0.9))))
    net.eval()
    size = (90, 130)
    for name in ('stem1', 'stem2'):
        size = pooled_size(size, net.dynopools[name].alpha.tolist())
    expected = [size]
    for k in (1, 2, 3):
        size = pooled_size(size, net.dynopools[f'stream{k}'].alpha.tolist())
        expected.append(size)
    assert [s[2:] for s in shapes(net(torch.randn(1, 3, 90, 130)))] == expected
    assert expected[0] == (32, 24)


def test_scales_that_do_not_learn_are_the_given_ones():
    scales = dict(stream1=(0.4, 0.7), stream2=(0.6, 0.5), stream3=(0.8, 0.3))
    fixed, net = (DynOPoolHRNet(hrnet_extra(), dynopool=dict(scale=scales, learn=learn))
                  for learn in (False, True))
    for m in (fixed, net):
        m.eval()
    fixed.load_state_dict({key: value for key, value in net.state_dict().items()
                           if 'alpha' not in key})
    assert {n: p.initial_scale for n, p in fixed.dynopools.items()} == scales
    image = torch.randn(1, 3, 64, 80)
    for ours, theirs in zip(fixed(image), net(image), strict=True):
        assert torch.equal(ours, theirs)


def test_every_alpha_and_weight_gets_a_gradient():
    net = DynOPoolHRNet(hrnet_extra(), dynopool=dict(stem=True, scale=0.6))
    loss = sum((y * torch.randn_like(y)).sum() for y in net(torch.randn(2, 3, 70, 90)))
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    for name, pool in net.dynopools.items():
        assert pool.alpha.grad.abs().min() > 0, name


def test_pools_run_once_per_fuse_step_and_alphas_are_read_once(monkeypatch):
    net = DynOPoolHRNet(hrnet_extra(modules=(1, 1, 4, 3)))
    uses, reads = [], []
    for name, pool in net.dynopools.items():
        pool.register_forward_hook(lambda *_, name=name: uses.append(name))
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, 'tolist', lambda t: reads.append(1) or tolist(t))
    net(torch.randn(1, 3, 64, 64))
    # Transitions 3; a module of stage 2: 1, of stage 3: 3, of stage 4: 7.
    assert len(uses) == 3 + 1 + 4 * 3 + 3 * 7
    assert len(reads) == 1


@pytest.mark.parametrize('copy_of', [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_copies_keep_one_instance_per_stream(copy_of):
    net = DynOPoolHRNet(hrnet_extra())
    twin = copy_of(net).to(torch.float64).to(torch.float32)
    assert [k for k in twin.state_dict() if 'alpha' in k] == [
        f'dynopools.stream{k}.alpha' for k in (1, 2, 3)]
    set_scale(twin, 'stream1', (0.25, 1.0))
    for m in (net, twin):
        m.eval()
    image = torch.randn(1, 3, 64, 64)
    assert shapes(net(image))[1][2:] == (8, 8)
    assert shapes(twin(image))[1][2:] == (4, 16)


def test_moving_average_counts_each_alpha_once():
    net = DynOPoolHRNet(hrnet_extra())
    average = ExponentialMovingAverage(net, momentum=0.1, update_buffers=True)
    average.update_parameters(net)  # the first update copies
    with torch.no_grad():
        net.dynopools['stream1'].alpha += 1.0
    average.update_parameters(net)
    assert average.module.dynopools['stream1'].alpha.tolist() == pytest.approx([2.1, 2.1])


@pytest.mark.parametrize('stage, frozen', [
    (-1, []), (0, ['stem1', 'stem2']), (1, ['stem1', 'stem2', 'stream1']),
    (2, ['stem1', 'stem2', 'stream1', 'stream2']),
    (3, ['stem1', 'stem2', 'stream1', 'stream2', 'stream3']),
    (4, ['stem1', 'stem2', 'stream1', 'stream2', 'stream3'])])
def test_frozen_stages_freeze_the_pools_they_run_through(stage, frozen):
    net = DynOPoolHRNet(hrnet_extra(), frozen_stages=stage, dynopool=dict(stem=True))
    net.train()
    stock = HRNet(hrnet_extra(), frozen_stages=stage)
    stock.train()
    ours = {n: p.requires_grad for n, p in net.named_parameters() if 'dynopools' not in n}
    assert ours == {n: p.requires_grad for n, p in stock.named_parameters()}
    assert [n for n, p in net.dynopools.items() if not p.alpha.requires_grad] == frozen


def test_norm_eval_and_multiscale_output():
    net = DynOPoolHRNet(hrnet_extra(), norm_eval=True, multiscale_output=False)
    net.train()
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(m.training for m in norms)
    assert shapes(net(torch.randn(1, 3, 64, 64))) == [(1, 4, 16, 16)]


def test_checkpointing_changes_no_number():
    torch.manual_seed(0)
    plain = DynOPoolHRNet(hrnet_extra(), dynopool=dict(scale=0.6))
    saving = DynOPoolHRNet(hrnet_extra(), with_cp=True, dynopool=dict(scale=0.6))
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 64, 80)
    for net in (plain, saving):
        sum(y.square().sum() for y in net(image)).backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters()):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_stages_may_start_two_streams_at_once():
    extra = hrnet_extra()
    extra['stage2'] = dict(num_modules=1, num_branches=3, block='BASIC', num_blocks=(1, 1, 1),
                           num_channels=(4, 8, 12))
    net = DynOPoolHRNet(extra)
    assert [s[2:] for s in shapes(net(torch.randn(1, 3, 64, 64)))] == [
        (16, 16), (8, 8), (4, 4), (2, 2)]


def test_a_diverged_alpha_is_named():
    net = DynOPoolHRNet(hrnet_extra())
    set_scale(net, 'stream2', (float('nan'), 0.5))
    with pytest.raises(ValueError, match="'stream2' is not finite, \\(nan"):
        net(torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize('options, words', [
    (5, ['dict', '5']),
    (dict(scales=0.5), ['scales', 'scale']),
    (dict(scale=dict(stream9=0.5)), ['stream9', 'stream1']),
    (dict(scale=dict(stem1=0.5)), ['stem1']),
    (dict(scale=dict(stream2=0)), ['stream2', 'positive']),
    (dict(scale=3), ['stream1', 'bounds', '3']),
    (dict(stem='yes'), ['stem', "'yes'"]),
    (dict(anchor='left'), ['anchor', "'left'"]),
    (dict(window=0), ['window', '0']),
])
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError) as error:
        DynOPoolHRNet(hrnet_extra(), dynopool=options)
    for word in words:
        assert word in str(error.value)


def test_training_keeps_as_much_as_the_stock_network():
    """But for a byte for each pooled value, which tells the winner; no pooled map is kept."""
    extra, image = NETWORKS['W18-small'], torch.rand(2, 3, 64, 128)
    net, pooled = DynOPoolHRNet(extra), []
    for pool in net.dynopools.values():
        pool.register_forward_hook(lambda module, args, output: pooled.append(output.numel()))
    ours, stock = kept_bytes(net, image), kept_bytes(HRNet(extra), image)
    assert sum(pooled) > 0.003 * stock
    assert stock < ours <= stock + sum(pooled) + 1024


def test_pooled_maps_are_freed():
    net, alive = DynOPoolHRNet(NETWORKS['tiny']), []
    for pool in net.dynopools.values():
        pool.register_forward_hook(lambda module, args, output: alive.append(weakref.ref(output)))
    net.train()
    features = net(torch.rand(2, 3, 64, 96))
    uses = len(alive)
    assert uses > 5 and not any(output() is not None for output in alive)
    sum(y.square().mean() for y in features).backward()
    assert len(alive) == uses  # hooks see nothing of what is pooled again


@pytest.mark.parametrize('pool', [DynOPool(0.6), FixedDynOPool(0.6), ShapeAdaptor(0.6)])
@pytest.mark.parametrize('size', [None, (20, 27)])
def test_a_convolution_of_pooled_features_has_its_gradients(pool, size):
    step = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU()).double()
    image = torch.randn(2, 2, 33, 45, dtype=torch.float64)
    found = []
    for convolve in (lambda p: p.convolve(step), lambda p: step(p.output)):
        leaf = image.clone().requires_grad_()
        step.zero_grad()
        pooled = PooledFeatures(partial(pool, output_size=size), leaf * 1)
        convolve(pooled).square().sum().backward()
        found.append([leaf.grad, step[0].weight.grad.clone()])
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_features_that_change_after_they_were_pooled_are_noticed():
    step = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Identity())
    features = torch.rand(1, 1, 9, 9, requires_grad=True) * 1
    output = PooledFeatures(partial(FixedDynOPool(0.6), output_size=None), features).convolve(step)
    features.mul_(0)
    with pytest.raises(RuntimeError, match='changed in place after they were pooled'):
        output.sum().backward()
