"""torch.compile of converted networks: one graph behind one read of the alphas."""

import copy

import pytest
import torch
from mmseg.models.backbones import HRNet
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from mmseg_dynopool.conversion import convert_dynopool
from support.toy_networks import ToyResNet, ToyUNet, as_list
from support.toys import ONE_STAGE, TWO_STREAMS, hrnet_extra

pytestmark = [pytest.mark.usefixtures('fresh_compiler'), pytest.mark.slow]
# Off those at which two points of a cell lie symmetric about a pixel: there a maximum behind a
# ReLU is a tie, and either slope of alpha is right.
ALPHAS = (2.1, 2.3, 2.9, 1.5, 2.7, 2.4)


def short_resnet_d():
    """Two levels, with maxima and averages: the compiler takes long for each."""
    net = ToyResNet(average=True)
    net.maxpool = net.layer3 = nn.Identity()
    return net


BUILD = dict(resnet_d=short_resnet_d, unet=ToyUNet,
             hrnet=lambda: HRNet(hrnet_extra(TWO_STREAMS, ONE_STAGE)))


def set_alphas(model, value):
    with torch.no_grad():
        for k, pool in enumerate(model.dynopools.values()):
            pool.alpha.copy_(torch.tensor([value, value - 0.1 * (k % 3)]))


# With aot_eager the compiler differentiates, which takes it long.
@pytest.mark.parametrize('name, train, rule, backend', [
    ('resnet_d', True, 'before', 'aot_eager'), ('unet', False, 'after', 'eager'),
    ('hrnet', False, 'before', 'eager')])
def test_a_network_is_compiled_once(name, train, rule, backend):
    model = convert_dynopool(BUILD[name](), rule, merge=False).double()
    model.train(train)
    counter = CompileCounterWithBackend(backend)
    plain, compiled = copy.deepcopy(model), torch.compile(model, backend=counter)
    image, sizes = torch.randn(2, 3, 160, 224, dtype=torch.float64), set()
    for value in ALPHAS:
        set_alphas(model, value), set_alphas(plain, value)
        with torch.set_grad_enabled(train):
            found, expected = as_list(compiled(image)), as_list(plain(image))
        sizes.add(tuple(plain.feature_sizes((160, 224)).values()))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)
        if train:
            for net, outputs in ((model, found), (plain, expected)):
                net.zero_grad()
                sum(y.square().mean() for y in outputs).backward()
            for level, pool in model.dynopools.items():
                torch.testing.assert_close(pool.alpha.grad, plain.dynopools[level].alpha.grad,
                                           rtol=1e-6, atol=1e-9)
    assert len(sizes) == 6
    assert counter.frame_count == 1


@pytest.mark.parametrize('levels', ['image', 'all'])
def test_the_image_s_size_is_in_the_one_graph(levels):
    """Another where nothing is resized; sizes come back that the compiler knows as 2 * (n // 2)."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(2), nn.Upsample(scale_factor=4))
    net = convert_dynopool(net if levels == 'image' else net[:2], image=True, levels=levels)
    counter = CompileCounterWithBackend('eager')
    plain, compiled = copy.deepcopy(net), torch.compile(net, backend=counter)
    image, graphs = torch.randn(2, 3, 96, 160), []
    for alpha in ((1.0, 1.3), (1.31, 1.5), (2.2, 0.9), (0.8, 1.1), (1.0, 1.0), (1.1, 1.2)):
        for model in (net, plain):
            model.dynopools['image'].set_alpha_(alpha)
        torch.testing.assert_close(compiled(image), plain(image), rtol=0, atol=0)
        graphs.append(counter.frame_count)
    assert graphs == [1, 1, 1, 1, 2, 2]


def test_a_compiled_forward_pass_leaves_no_size_behind():
    model = convert_dynopool(ToyUNet())
    model.pool(torch.zeros(1, 4, 8, 8))  # a turn is open
    compiled = torch.compile(model, backend='eager')
    set_alphas(model, 2.5)
    expected = copy.deepcopy(model)(torch.ones(1, 3, 50, 50))
    torch.testing.assert_close(compiled(torch.ones(1, 3, 50, 50)), expected)
    assert model.pool(torch.zeros(1, 4, 100, 100)).shape[2:] == (40, 40)
