"""Layers that run again in the backward pass: nothing but memory may change."""

import copy

import pytest
import torch
from mmseg.models.backbones import HRNet, ResNet
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmseg_dynopool.conversion import convert_dynopool
from support.toy_networks import Run, ToyResNet, ToyUNet, conv, set_scales
from support.toys import hrnet_extra

MODES = ['reentrant', 'non-reentrant']
SCALES = dict(stride2=(0.6, 0.45), stride4=(0.4, 0.7), stride8=(0.55, 0.3), stride16=(0.7, 0.6),
              stride32=(0.8, 0.9))


def gradients(model, image):
    model.zero_grad()
    outputs = model(image)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    sum((k + 1) * y.square().sum() for k, y in enumerate(outputs)).backward()
    return outputs, {name: p.grad.clone() for name, p in model.named_parameters()}


def check_equal(plain, saving, image):
    saving.load_state_dict(plain.state_dict())
    expected, expected_gradients = gradients(plain, image)
    for _ in range(2):  # what the first pass leaves behind must not act on the second
        outputs, found = gradients(saving, image)
        assert all(map(torch.equal, outputs, expected))
        for name, gradient in found.items():
            assert gradient.abs().max() > 0 or name == 'dynopools.image.alpha', name
            torch.testing.assert_close(gradient, expected_gradients[name], msg=name)


def converted(net, rule='before', **options):
    model = convert_dynopool(net, rule, **options)
    return set_scales(model, **{k: s for k, s in SCALES.items() if k in model.dynopools}).double()


IMAGE = torch.randn(2, 3, 60, 84, dtype=torch.float64)


@pytest.mark.parametrize('cp', MODES)
@pytest.mark.parametrize('rule', ['before', 'after'])
@pytest.mark.parametrize('build', [ToyResNet, lambda cp=None: ToyResNet(average=True, cp=cp)])
def test_of_a_resnet(cp, rule, build):
    check_equal(converted(build(), rule), converted(build(cp=cp), rule), IMAGE)


@pytest.mark.parametrize('cp', MODES)
def test_of_one_pooling_at_several_levels(cp):
    """The backward pass runs the levels again in reverse order."""
    check_equal(converted(ToyUNet()), converted(ToyUNet(cp=cp)), IMAGE)


@pytest.mark.parametrize('cp', MODES)
def test_of_one_pooling_at_several_levels_at_the_start(cp):
    """Where alphas are equal, a wrong turn has the right size."""
    plain = convert_dynopool(ToyUNet()).double()
    check_equal(plain, convert_dynopool(ToyUNet(cp=cp)).double(), IMAGE)


def test_a_turn_that_cannot_be_told_is_an_error():
    net = Run(lambda m, x: checkpoint(lambda y: m.pool(m.b(m.pool(y))), m.a(x),
                                      use_reentrant=False),
              a=conv(3, 4), b=conv(4, 4), pool=nn.MaxPool2d(2))
    model = set_scales(convert_dynopool(net), stride2=1.0, stride4=0.5)
    with pytest.raises(RuntimeError, match='use a module of its own for each place'):
        model(IMAGE.float()).sum().backward()
    set_scales(model, stride2=0.75)
    model(IMAGE.float()).sum().backward()
    assert all(pool.alpha.grad.abs().min() > 0 for pool in model.dynopools.values())


@pytest.mark.parametrize('kind, options', [
    ('resnet', {}), ('resnet', dict(image=True, scale=dict(image=(0.6, 0.8)))), ('hrnet', {})])
def test_with_cp_of_mmsegs_backbones(kind, options):
    def build(with_cp):
        net = HRNet(hrnet_extra(), with_cp=with_cp) if kind == 'hrnet' else ResNet(
            18, stem_channels=4, base_channels=4, with_cp=with_cp)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0  # else it runs twice
        return converted(net, **options)

    check_equal(build(False), build(True), IMAGE)


def test_two_forward_passes_before_one_backward_pass():
    model = converted(ToyResNet(cp='non-reentrant')).eval()
    plain = copy.deepcopy(model)
    for layer in (plain.layer1, plain.layer2, plain.layer3):
        layer.cp = None
    grads = []
    for net in (plain, model):
        net.zero_grad()
        one, two = net(IMAGE), net(IMAGE[..., :50, :70])
        sum(y.square().sum() for y in (*one, *two)).backward()
        grads.append([p.grad for p in net.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)
