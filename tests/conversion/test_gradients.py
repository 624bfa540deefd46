"""Gradients of every alpha and weight against a plain network whose pools are a slow reference."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_dynopool.conversion import convert_dynopool
from support.reference import reference_autograd
from support.toy_networks import ToyResNet, ToyUNet, randomize

SCALES = dict(stride2=(0.71, 0.43), stride4=(0.62, 0.57), stride8=(0.43, 0.83),
              stride16=(0.67, 0.46))
WINDOW = 4


def reference(image, alpha, reduce='max'):
    return reference_autograd(image, alpha, 'local', WINDOW, reduce)


def unstrided(conv, x):
    return F.conv2d(x, conv.weight, conv.bias, padding=conv.padding)


def block(net, x, alpha, rule, average):
    """A strided block; without alpha one that does not stride."""
    def pooled(y, reduce='max'):
        return y if alpha is None else reference(y, alpha, reduce)

    if rule == 'before':
        y = unstrided(net.conv1, pooled(x))
        y = F.relu(net.bn1(y))
    else:
        y = pooled(F.relu(net.bn1(unstrided(net.conv1, x))))
    y = net.bn2(unstrided(net.conv2, y))
    if net.down is None:
        return F.relu(y + x)
    if average:
        x = pooled(x, 'mean')
    elif rule == 'before':
        x = pooled(x)
    down = net.down[2](unstrided(net.down[1], x))
    return F.relu(y + (down if average or rule == 'before' else pooled(down)))


def plain_resnet(net, x, alphas, rule, average, merged):
    if rule == 'before':
        x = reference(x, alphas['stride2'])
    x = F.relu(net.bn1(unstrided(net.conv1, x)))
    if rule == 'after' and not merged:
        x = reference(x, alphas['stride2'])
    x = reference(x, alphas['stride4'])
    outputs = []
    for layer, level in ((net.layer1, None), (net.layer2, 'stride8'), (net.layer3, 'stride16')):
        x = block(layer, x, alphas.get(level), rule, average)
        outputs.append(x)
    return outputs


def gradients(outputs, parameters):
    generator = torch.Generator().manual_seed(1)
    loss = sum((y * torch.randn(y.shape, dtype=y.dtype, generator=generator)).sum()
               for y in outputs)
    return torch.autograd.grad(loss, parameters)


@pytest.mark.parametrize('average', [False, True])
@pytest.mark.parametrize('rule, merge', [('before', False), ('after', False), ('after', True)])
def test_of_a_converted_resnet(rule, merge, average):
    torch.manual_seed(0)
    scales = {k: v for k, v in SCALES.items() if not (merge and k == 'stride2')}
    if merge:
        scales['stride4'] = (0.31, 0.23)  # keeps the queries off the pixel centres
    plain = randomize(ToyResNet(average=average)).double()
    model = convert_dynopool(ToyResNet(average=average), rule, scales, merge=merge,
                             window=WINDOW).double()
    missing, _ = model.load_state_dict(plain.state_dict(), strict=False)
    assert missing == [f'dynopools.{name}.alpha' for name in scales]
    alphas = {name: pool.alpha.detach().clone().requires_grad_()
              for name, pool in model.dynopools.items()}
    image = torch.randn(2, 3, 61, 83, dtype=torch.float64)
    ours = model(image)
    theirs = plain_resnet(plain, image, alphas, rule, average, merge)
    for a, b in zip(ours, theirs, strict=True):
        assert a.std() > 1e-2
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    names = [name for name, _ in plain.named_parameters()]
    expected = dict(zip(
        [*names, *missing], gradients(theirs, [*plain.parameters(), *alphas.values()])))
    found = dict(model.named_parameters())
    assert set(found) == set(expected)
    for name, gradient in zip(found, gradients(ours, list(found.values()))):
        assert gradient.abs().max() > 1e-6, name
        torch.testing.assert_close(gradient, expected[name], rtol=1e-8, atol=1e-8, msg=name)


def test_of_a_unet_with_one_pooling_module():
    """Each call's gradient belongs to the alpha of its own level."""
    torch.manual_seed(0)
    net = ToyUNet().double()
    model = convert_dynopool(net, scale=dict(stride2=(0.71, 0.43), stride4=(0.62, 0.57)),
                             window=WINDOW).double()
    image = torch.randn(2, 3, 41, 53, dtype=torch.float64)
    a2, a4 = (pool.alpha.detach().clone().requires_grad_() for pool in model.dynopools.values())

    def up(x, to):
        return F.interpolate(x, to.shape[2:], mode='bilinear', align_corners=False)

    x1 = F.relu(net.enc1(image))
    x2 = F.relu(net.enc2(reference(x1, a2)))
    x3 = F.relu(net.enc3(reference(x2, a4)))
    y2 = F.relu(net.dec2(torch.cat([up(x3, x2), x2], 1)))
    expected = net.dec1(torch.cat([up(y2, x1), x1], 1))
    found = model(image)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert found.shape[2:] == (41, 53)
    alphas = [pool.alpha for pool in model.dynopools.values()]
    for a, b in zip(gradients([found], alphas), gradients([expected], [a2, a4]), strict=True):
        assert b.abs().min() > 1e-6
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)
