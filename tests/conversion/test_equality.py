"""Converted networks beside the stock ones and beside the hand-made HRNet."""

import copy
import warnings

import pytest
import torch
from mmcv.cnn import VGG
from mmseg.models.backbones import HRNet, MobileNetV2, ResNet, ResNetV1d, UNet
from torch import nn

from mmseg_dynopool import DynOPoolHRNet
from mmseg_dynopool.conversion import convert_dynopool, plan_conversion
from mmseg_dynopool.layers import FixedDynOPool, ShapeAdaptor
from support.toy_networks import TokenStage, ToyResNet, ToyUNet, as_list, conv, randomize
from support.toys import hrnet_extra


@pytest.mark.parametrize('with_bn', [False, True])
def test_vgg16_is_the_stock_network_bit_for_bit(with_bn):
    """Its pooling is MaxPool2d(2), which a DynOPool of r = 0.5 is at even sizes."""
    torch.manual_seed(0)
    stock = randomize(VGG(16, with_bn=with_bn, out_indices=(0, 1, 2, 3, 4)))
    for module in stock.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    model = convert_dynopool(copy.deepcopy(stock))
    assert list(model.dynopools) == ['stride2', 'stride4', 'stride8', 'stride16', 'stride32']
    image = torch.randn(1, 3, 32, 64)
    grads = []
    for net in (stock, model):
        net.eval()
        outputs = net(image)
        grads.append(torch.autograd.grad(sum(y.sum() for y in outputs), net.features[0].weight))
        assert outputs[-1].std() > 1e-4
        grads[-1] += tuple(outputs)
    for ours, theirs in zip(*grads, strict=True):
        assert torch.equal(ours, theirs)


SCALES = [
    {'1': (0.5, 0.5), '2': (0.5, 0.5), '3': (0.5, 0.5), '4': (0.5, 0.5), '5': (0.5, 0.5)},
    {'1': (0.71, 0.43), '2': (0.62, 0.55), '3': (0.37, 0.81), '4': (0.66, 0.45), '5': (0.9, 0.7)},
    {'1': (0.44, 0.93), '2': (0.83, 0.31), '3': (0.58, 0.64), '4': (0.41, 0.52), '5': (0.6, 1.0)},
]


@pytest.mark.parametrize('scales', SCALES)
def test_hrnet_equals_the_hand_made_one(scales):
    hand = DynOPoolHRNet(hrnet_extra(), dynopool=dict(stem=True)).double()
    model = convert_dynopool(HRNet(hrnet_extra())).double()
    names = dict(zip(('stem1', 'stem2', 'stream1', 'stream2', 'stream3'),
                     ('stride2', 'stride4', 'stride8', 'stride16', 'stride32'), strict=True))
    assert set(hand.dynopools) == set(names) and list(model.dynopools) == list(names.values())
    randomize(hand)
    missing, unexpected = model.load_state_dict(
        {k: v for k, v in hand.state_dict().items() if 'dynopools' not in k}, strict=False)
    assert unexpected == [] and missing == [f'dynopools.{n}.alpha' for n in names.values()]
    with torch.no_grad():
        for (ours, theirs), scale in zip(names.items(), scales.values()):
            for net, name in ((hand, ours), (model, theirs)):
                net.dynopools[name].alpha.copy_(1 / torch.tensor(scale, dtype=torch.float64))
    image = torch.randn(2, 3, 96, 128, dtype=torch.float64)
    for net in (hand, model):
        net.train()
    outputs = [hand(image), model(image)]
    weights = [torch.randn_like(y) for y in outputs[0]]
    for features in outputs:
        sum((w * y).sum() for w, y in zip(weights, features, strict=True)).backward()
    for ours, theirs in zip(*outputs, strict=True):
        assert ours.std() > 1e-2
        torch.testing.assert_close(theirs, ours, rtol=1e-6, atol=1e-8)
    gradients = dict(hand.named_parameters())
    for name, parameter in model.named_parameters():
        for hand_name, level in names.items():
            name = name.replace(f'dynopools.{level}.', f'dynopools.{hand_name}.')
        assert parameter.grad.abs().max() > 0
        torch.testing.assert_close(parameter.grad, gradients.pop(name).grad, rtol=1e-6,
                                   atol=1e-8, msg=name)
    assert not gradients


def small(kind, **options):
    return lambda: kind(**options)


NETWORKS = dict(
    toy_resnet=ToyResNet, toy_resnet_d=lambda: ToyResNet(average=True), toy_unet=ToyUNet,
    toy_unet_transposed=lambda: ToyUNet(up='transposed'),
    tokens=lambda: nn.Sequential(TokenStage(3, 4, 4, 2, overlap=True), TokenStage(4, 8, 2, 2)),
    even=lambda: nn.Sequential(conv(3, 4, 4, 2, 1), nn.ReLU(), conv(4, 4, 2, 2, 0)),
    resnet18=small(ResNet, depth=18, stem_channels=4, base_channels=4),
    resnet50v1d_dilated=small(ResNetV1d, depth=50, stem_channels=4, base_channels=4,
                              strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    mobilenetv2=small(MobileNetV2, widen_factor=0.25), hrnet=lambda: HRNet(hrnet_extra()),
    unet=small(UNet, base_channels=4), vgg11=lambda: VGG(11, out_indices=(0, 4)),
)


@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize('rule', ['before', 'after'])
def test_keys_sizes_and_weights_are_the_stock_ones(name, rule):
    stock = NETWORKS[name]()
    model = convert_dynopool(NETWORKS[name](), rule)
    alphas = [f'dynopools.{level}.alpha' for level in model.dynopools]
    assert list(model.state_dict()) == list(stock.state_dict()) + alphas
    missing, unexpected = model.load_state_dict(stock.state_dict(), strict=False)
    assert missing == alphas and unexpected == []
    for key, value in stock.state_dict().items():
        assert torch.equal(model.state_dict()[key], value)
    for net in (stock, model):
        net.eval()
    unit = round(max(1 / s for s in _total(model)))
    for height, width in ((2, 3), (4, 2)):
        image = torch.randn(1, 3, height * unit, width * unit)
        with torch.no_grad():
            ours, theirs = as_list(model(image)), as_list(stock(image))
        assert [y.shape for y in ours] == [y.shape for y in theirs]
    types = {n: type(m) for n, m in stock.named_modules()}
    for module_name, module in model.named_modules():
        if not module_name.startswith('dynopools'):
            assert isinstance(module, types[module_name])


def _total(model):
    """Scale of the smallest map, if the levels are one chain."""
    total = 1.0
    for pool in model.dynopools.values():
        total *= pool.stock_scale[0]
    return [total]


def test_that_sizes_differ_elsewhere_is_said_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        model = convert_dynopool(nn.Sequential(conv(3, 4), nn.MaxPool2d(2)))
    texts = [str(w.message) for w in caught if 'sizes are rounded' in str(w.message)]
    assert texts == [
        "Sequential: sizes are rounded, ties up: at 705 x 849 pixels the stock network's outputs "
        "have 352 x 424, the converted one's 353 x 425"]
    assert model(torch.zeros(1, 3, 705, 849)).shape[2:] == (353, 425)
    strided = nn.Sequential(conv(3, 4, 3, 2))  # rounds up, too: there is nothing to say
    assert plan_conversion(strided).notes == []


@pytest.mark.parametrize('scale, expected', [
    (None, dict(stride4=(0.25, 0.25), stride8=(0.5, 0.5))),
    (0.6, dict(stride4=(0.6, 0.6), stride8=(0.6, 0.6))),
    ((0.6, 0.4), dict(stride4=(0.6, 0.4), stride8=(0.6, 0.4))),
    (dict(stride8=(0.3, 0.7)), dict(stride4=(0.25, 0.25), stride8=(0.3, 0.7))),
])
def test_initial_scales_and_bounds(scale, expected):
    net = nn.Sequential(conv(3, 4, 7, 4), conv(4, 4, 3, 2))
    model = convert_dynopool(copy.deepcopy(net), scale=scale, anchor='center', window=4)
    for name, pool in model.dynopools.items():
        assert pool.initial_scale == pytest.approx(expected[name])
        assert pool.alpha.tolist() == pytest.approx([1 / s for s in expected[name]])
        stock = dict(stride4=0.25, stride8=0.5)[name]
        assert pool.stock_scale == (stock, stock)
        assert pool.bounds == (min(stock, *expected[name]) / 4, 1.0)
        assert (pool.anchor, pool.window) == ('center', 4)
    assert plan_conversion(net, scale=scale).scales == expected
    fixed = convert_dynopool(copy.deepcopy(net), scale=scale, learn=False)
    fixed.load_state_dict({k: v for k, v in model.state_dict().items() if 'alpha' not in k})
    assert all(isinstance(p, FixedDynOPool) for p in fixed.dynopools.values())
    image = torch.randn(1, 3, 64, 96)
    assert torch.equal(fixed(image), model(image))
    adaptor = convert_dynopool(copy.deepcopy(net), type='ShapeAdaptor').dynopools['stride4']
    assert isinstance(adaptor, ShapeAdaptor) and adaptor.bounds == (0.125, 1.0)


def test_an_average_stays_an_average():
    """Of ResNetV1d's shortcut; what it says."""
    net = nn.Sequential(conv(3, 4), nn.AvgPool2d(2))
    with pytest.warns(UserWarning, match='an average stays an average.*: 1$'):
        model = convert_dynopool(copy.deepcopy(net))
    image = torch.randn(1, 3, 12, 20)
    assert torch.equal(model(image), net(image))
