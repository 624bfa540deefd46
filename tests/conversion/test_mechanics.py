"""Copies, wrappers, optimizers, and how often anything runs or is read."""

import copy
import io
import pickle
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import DefaultOptimWrapperConstructor
from mmseg.models.backbones import HRNet, ResNet
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.layers import DynOPool, freeze_pools
from mmseg_dynopool.ops import dynopool2d
from support.toy_networks import Run, ToyResNet, ToyUNet, conv, randomize, set_scales
from support.toys import hrnet_extra

BUILD = dict(resnet=ToyResNet, resnet_d=lambda: ToyResNet(average=True), unet=ToyUNet)
SCALES = dict(stride2=(0.6, 0.45), stride4=(0.4, 0.7), stride8=(0.55, 0.3), stride16=(0.7, 0.6))


def converted(name='resnet', rule='before'):
    model = convert_dynopool(randomize(BUILD[name]()), rule, merge=False)
    model.eval()
    return set_scales(model, **{k: s for k, s in SCALES.items() if k in model.dynopools})


def run(model, image):
    outputs = model(image)
    return [outputs] if isinstance(outputs, torch.Tensor) else outputs


def image(seed=0, size=(60, 84)):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize('copy_of', [copy.deepcopy, saved,
                                     lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize('name', BUILD)
def test_copies_are_whole_and_independent(copy_of, name):
    model = converted(name)
    twin = copy_of(model)
    assert list(twin.state_dict()) == list(model.state_dict())
    assert [type(m) for m in twin.modules()] == [type(m) for m in model.modules()]
    expected = run(model, image())
    assert all(map(torch.equal, run(twin, image()), expected))
    for level, shared in twin.shared_pools.items():
        assert shared.pool is twin.dynopools[level] is not model.dynopools[level]
    set_scales(twin, stride4=0.25)
    assert all(map(torch.equal, run(model, image()), expected))
    assert run(twin, image())[0].shape != expected[0].shape or name == 'unet'
    set_scales(model, stride4=0.25)
    assert all(map(torch.equal, run(model, image()), run(twin, image())))


@pytest.mark.parametrize('cp', ['reentrant', 'non-reentrant'])
def test_copies_after_a_checkpointed_backward_pass(cp):
    model = convert_dynopool(ToyResNet(cp=cp))
    sum(y.sum() for y in model(image())).backward()
    for copy_of in (copy.deepcopy, saved, freeze_pools):
        twin = copy_of(model)
        assert all(map(torch.equal, model.eval()(image()), twin.eval()(image())))
        model.train()


def test_data_parallel():
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = converted()
        model.train()
        parallel = nn.parallel.DistributedDataParallel(copy.deepcopy(model))
        for net in (model, parallel):
            sum(y.square().sum() for y in net(image())).backward()
        for (name, a), b in zip(model.named_parameters(), parallel.parameters(), strict=True):
            assert a.grad.abs().max() > 0
            torch.testing.assert_close(b.grad, a.grad, msg=name)
    finally:
        dist.destroy_process_group()


def test_moving_average():
    model = converted()
    average = ExponentialMovingAverage(model, momentum=0.1, update_buffers=True)
    average.update_parameters(model)  # the first update copies
    alpha = model.dynopools['stride4'].alpha.clone()
    with torch.no_grad():
        model.dynopools['stride4'].alpha += 1.0
    average.update_parameters(model)
    mean = average.module.dynopools['stride4'].alpha
    torch.testing.assert_close(mean, alpha + 0.1)
    reference = set_scales(copy.deepcopy(model), stride4=(1 / mean).tolist())
    reference.load_state_dict(average.module.state_dict())
    assert all(map(torch.equal, average(image()), reference(image())))


def test_an_alpha_swapped_through_data_acts_at_once():
    """As mmengine's EMA hook does, which leaves a tensor's version as it is."""
    model = converted()
    first = [y.shape[2:] for y in model(image())]
    version = model.dynopools['stride8'].alpha._version
    model.dynopools['stride8'].alpha.data = torch.tensor([1.0, 4.0])
    second = [y.shape[2:] for y in model(image())]
    assert model.dynopools['stride8'].alpha._version == version
    assert first == [(14, 27), (8, 8), (6, 5)]  # 60, 84 -> 36, 38 -> 14.4, 26.6 -> 7.7, 8.1
    assert second == [(14, 27), (14, 7), (10, 4)]


def test_each_parameter_is_optimized_once_with_the_lr_of_its_key():
    model = convert_dynopool(ResNet(18, stem_channels=4, base_channels=4))
    wrapper = DefaultOptimWrapperConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, weight_decay=1e-4)),
        dict(custom_keys=dict(dynopools=dict(lr_mult=0.5, decay_mult=0.0))))(model)
    options = {}
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            assert id(parameter) not in options
            options[id(parameter)] = group['lr'], group['weight_decay']
    for name, parameter in model.named_parameters():
        assert options.pop(id(parameter)) == ((0.05, 0) if 'dynopools' in name else (0.1, 1e-4))
    assert not options


@pytest.mark.parametrize('name', BUILD)
@pytest.mark.parametrize('rule', ['before', 'after'])
def test_freezing_is_bit_for_bit(name, rule):
    model = converted(name, rule)
    frozen = freeze_pools(model)
    assert all(map(torch.equal, run(frozen, image()), run(model, image())))
    assert list(frozen.state_dict()) == list(model.state_dict())
    assert not any(pool.learns for pool in frozen.dynopools.values())


def test_mixed_precision():
    model = converted()
    plain = run(model, image())
    with torch.autocast('cpu', torch.bfloat16):
        mixed = run(model, image())
        sum(y.float().square().mean() for y in mixed).backward()
    for a, b in zip(plain, mixed, strict=True):
        assert a.shape == b.shape
        assert (a - b).norm() < 0.03 * a.norm()
    for pool in model.dynopools.values():
        assert pool.alpha.grad.dtype == torch.float32 and pool.alpha.grad.abs().min() > 0


def test_inference_mode():
    model = converted()
    with torch.inference_mode():
        outputs = model(image())
    assert all(map(torch.equal, outputs, model(image())))


@pytest.mark.parametrize('mode', [torch.enable_grad, torch.no_grad])
def test_one_tensor_is_pooled_once_and_alphas_are_read_once(monkeypatch, mode):
    calls, reads = [], []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, 'tolist', lambda t: reads.append(1) or tolist(t))
    # Stem 2, two strided blocks; where the shortcut averages it pools apart from the maximum.
    for model, expected in ((converted(), 4), (converted('resnet_d'), 6)):
        calls.clear(), reads.clear()
        for name, pool in model.dynopools.items():
            pool.register_forward_hook(lambda *_, name=name: calls.append(name))
        with mode():
            model(image())
        assert len(calls) == expected
        assert len(reads) == 1


def test_hrnets_fusion_pools_once():
    model = convert_dynopool(HRNet(hrnet_extra()))
    model.eval()
    calls = []
    for pool in model.dynopools.values():
        pool.register_forward_hook(lambda *_: calls.append(1))
    model(torch.randn(1, 3, 64, 64))
    # Stem 2, transitions 3. In a fusion of n streams stream i begins chains to each lower one, by
    # one pooled map; each further step of a chain pools its own: for n = 2, 3, 4 these are
    # 1 + 0, 2 + 1, 3 + (2 + 1 + 1).
    assert len(calls) == 2 + 3 + 1 + 3 + 7


def test_submodules_run_alone():
    model = converted()
    x = torch.randn(1, 4, 30, 40)
    assert model.layer1(x).shape == (1, 4, 30, 40)
    assert model.layer2(x).shape == (1, 8, 17, 12)  # 30 * 0.55 = 16.5, a tie goes up; 12
    whole = model(image())
    stem = model.maxpool(model.relu(model.bn1(model.conv1(image()))))
    assert torch.equal(model.layer3(model.layer2(model.layer1(stem))), whole[2])
    unet = converted('unet')
    expected = unet(image())
    unet.pool(torch.zeros(1, 4, 8, 8))  # takes a turn that no forward pass may miss
    assert torch.equal(unet(image()), expected)


def test_an_error_in_a_forward_pass_leaves_nothing_behind():
    model = converted('unet')
    expected = model(image())
    with pytest.raises(RuntimeError):
        model(torch.zeros(1, 5, 60, 84))
    handle = model.enc3.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(image())
    handle.remove()
    assert torch.equal(model(image()), expected)


def test_a_diverged_alpha_is_named():
    model = set_scales(converted(), stride8=(float('nan'), 0.5))
    with pytest.raises(ValueError, match="'stride8' is not finite, \\(nan"):
        model(image())


@pytest.mark.parametrize('frozen, levels', [
    (-1, []), (0, ['stride2']), (1, ['stride2', 'stride4']),
    (2, ['stride2', 'stride4', 'stride8']),
    (4, ['stride2', 'stride4', 'stride8', 'stride16', 'stride32'])])
def test_frozen_stages_freeze_their_levels(frozen, levels):
    stock = ResNet(18, stem_channels=4, base_channels=4, frozen_stages=frozen)
    stock.train()
    model = convert_dynopool(stock)
    assert [n for n, p in model.dynopools.items() if not p.alpha.requires_grad] == levels


def test_maximum_and_mean_of_one_tensor_are_two():
    net = Run(lambda m, x: m.a(x) + m.b(x) + m.c(m.pool(x)), a=conv(3, 4, 3, 2),
              b=conv(3, 4, 1, 2), pool=nn.AvgPool2d(2), c=conv(3, 4, 1))
    model = set_scales(convert_dynopool(net), stride2=(0.6, 0.4))
    calls = []
    model.dynopools['stride2'].register_forward_hook(lambda *_: calls.append(1))
    x, alpha = image(), (1 / 0.6, 1 / 0.4)
    high, mean = dynopool2d(x, alpha), dynopool2d(x, alpha, reduce='mean')
    torch.testing.assert_close(model(x), (
        F.conv2d(high, net.a.weight, net.a.bias, padding=1)
        + F.conv2d(high, net.b.weight, net.b.bias)
        + F.conv2d(mean, net.c.weight, net.c.bias)))
    assert len(calls) == 2


def test_a_tensor_that_was_written_is_pooled_anew():
    """In-place layers leave the same tensor with another content."""
    net = Run(lambda m, x: (lambda y: torch.cat([m.a(y), m.b(y), m.c(F.relu_(y))]))(m.stem(x)),
              stem=conv(3, 4), a=conv(4, 4, 3, 2), b=conv(4, 4, 3, 2), c=conv(4, 4, 3, 2))
    model = set_scales(convert_dynopool(net), stride2=(0.6, 0.4))
    with torch.no_grad():
        first, second, third = model(image()).chunk(3)
        y = F.conv2d(image(), model.stem.weight, model.stem.bias, padding=1)
        for layer, output, read in ((model.a, first, y), (model.b, second, y),
                                    (model.c, third, y.relu())):
            pooled = dynopool2d(read, (1 / 0.6, 1 / 0.4))
            torch.testing.assert_close(
                output, F.conv2d(pooled, layer.weight, layer.bias, padding=1))


def test_a_pooling_that_is_replaced_is_the_one_that_pools():
    """`dynopools` owns the poolings: nothing else holds another one."""
    model = convert_dynopool(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1)))
    model.dynopools['stride2'] = DynOPool(0.3)
    output = model(torch.rand(1, 3, 40, 40))
    assert output.shape[2:] == (12, 12)
    output.square().sum().backward()
    assert model.dynopools['stride2'].alpha.grad.abs().min() > 0


class TwoInputs(nn.Module):
    """The image has four channels; its first convolution does not see them."""

    def __init__(self):
        super().__init__()
        self.depth, self.conv = nn.Conv2d(1, 4, 1), nn.Conv2d(8, 6, 3, 2, 1)

    def forward(self, *, colour, depth):
        return self.conv(torch.cat([colour, self.depth(depth)], 1))


def test_how_to_run_a_network_of_other_inputs():
    def run(network, image):
        return network(colour=image, depth=image[:, :1])

    stock = TwoInputs()
    model = convert_dynopool(copy.deepcopy(stock), in_channels=4, forward=run)
    assert list(model.dynopools) == ['stride2']
    image = torch.rand(2, 4, 24, 40)
    features = torch.cat([image, stock.depth(image[:, :1])], 1)
    expected = F.conv2d(dynopool2d(features, (2.0, 2.0)), stock.conv.weight, stock.conv.bias,
                        padding=1)
    torch.testing.assert_close(run(model, image), expected)


def test_a_network_that_version_0_3_pickled():
    """Of ``Conv2d(3, 8, 3, 2, 1), MaxPool2d(2), Conv2d(8, 4, 3, 2, 1)``."""
    network = torch.load(Path(__file__).with_name('network_0_3.pt'), weights_only=False)
    assert list(network.dynopools) == ['stride2', 'stride4', 'stride8']
    assert network(torch.rand(1, 3, 64, 96)).shape == (1, 4, 8, 12)
