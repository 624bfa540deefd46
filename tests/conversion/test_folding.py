"""What folds norms into convolutions keeps the outputs of a converted network, or says so."""

import copy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, fuse_conv_bn
from mmengine.model import revert_sync_batchnorm
from mmengine.model.efficient_conv_bn_eval import turn_on_efficient_conv_bn_eval
from torch import nn
from torch.ao.quantization import fuse_modules
from torch.fx.experimental import optimization
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmseg_dynopool.conversion import convert_dynopool, plan_conversion
from support.toy_networks import Block, Run, ToyResNet, conv, randomize, set_scales


def with_negative_weights(model):
    """Of a norm with positive weights a maximum before it is that behind it."""
    for module in randomize(model).modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight[::2] *= -1
    return model.eval()


def by_pairs(model):
    """PyTorch's own folding, of each convolution whose next sibling is a norm."""
    for parent in model.modules():
        children = list(parent.named_children())
        for (name, child), (next_name, norm) in pairwise(children):
            if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(child, norm))
                setattr(parent, next_name, nn.Identity())
    return model


def on_the_fly(model):
    """mmengine's, of its option ``efficient_conv_bn_eval``."""
    turn_on_efficient_conv_bn_eval(nn.ModuleDict(dict(backbone=model)), 'backbone')
    return model


class HRNetLike(nn.Module):
    """Its stem's activation is one module that others use, and two layers of a block read it."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.relu = conv(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU()
        self.layer = nn.Sequential(Block(4, 8, 2), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))

    def forward(self, x):
        return self.relu(self.layer(self.relu(self.bn(self.conv(x)))))


BUILD = dict(
    resnet=ToyResNet, hrnet=HRNetLike, chain=lambda: nn.Sequential(
        conv(3, 4, 3, 2), nn.BatchNorm2d(4), conv(4, 6, 3, 2, bias=False), nn.BatchNorm2d(6),
        nn.ReLU(), conv(6, 6)),
    modules=lambda: nn.Sequential(*(
        ConvModule(a, b, 3, 2, 1, norm_cfg=dict(type='BN'), act_cfg=act)
        for a, b, act in ((3, 4, None), (4, 4, dict(type='ReLU')), (4, 8, None)))))
SCALES = dict(stride2=(0.6, 0.45), stride4=(0.4, 0.7), stride8=(0.55, 0.3), stride16=(0.7, 0.6))


def converted(name, rule):
    model = convert_dynopool(with_negative_weights(BUILD[name]()), rule, merge=False)
    return set_scales(model, **{k: s for k, s in SCALES.items() if k in model.dynopools}).eval()


def outputs(model, x):
    with torch.no_grad():
        y = model(x)
    return [y] if isinstance(y, torch.Tensor) else y


@pytest.mark.parametrize('fold', [by_pairs, fuse_conv_bn, on_the_fly, optimization.fuse])
@pytest.mark.parametrize('rule', ['before', 'after'])
@pytest.mark.parametrize('name', BUILD)
def test_a_folded_network_has_the_same_outputs(name, rule, fold):
    model, x = converted(name, rule), torch.randn(2, 3, 64, 96)
    assert model.norms == {}
    expected = outputs(model, x)
    for found, wanted in zip(outputs(fold(copy.deepcopy(model)), x), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_convolution_in_mmcvs_module_that_folds_on_the_fly():
    model, x = converted('modules', 'before'), torch.randn(2, 3, 64, 96)
    expected = model(x)
    for module in model:
        module.turn_on_efficient_conv_bn_eval()
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


def test_quantizations_fusion_matches_where_no_dynopool_is():
    model, x = converted('chain', 'after'), torch.randn(2, 3, 64, 96)
    torch.testing.assert_close(fuse_modules(model, ['0', '1'])(x), model(x), rtol=1e-4, atol=1e-4)
    model = converted('chain', 'before')
    with pytest.raises((NotImplementedError, AssertionError), match='PooledConv2d'):
        fuse_modules(model, ['0', '1'])


class Unfoldable(nn.Module):
    """It reads the size between convolution and norm, as mmseg's MSCAN does."""

    def __init__(self):
        super().__init__()
        self.proj, self.norm = conv(3, 4, 3, 2), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.proj(x)
        height, width = x.shape[-2:]
        x = self.norm(x).flatten(2)
        return x.unflatten(2, (height, width)) + 1


@pytest.mark.parametrize('fold', [by_pairs, fuse_conv_bn])
def test_where_a_dynopool_has_to_stand_in_front_of_a_norm_folding_is_an_error(fold):
    model = convert_dynopool(nn.Sequential(Unfoldable(), conv(4, 4)), 'after').eval()
    x = torch.rand(1, 3, 32, 48)
    expected = model(x)
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
    assert torch.equal(revert_sync_batchnorm(synced)(x), expected)  # norms may be replaced
    with pytest.raises(RuntimeError, match=r"the norm '0.norm' was folded into '0.proj'"):
        fold(model)(x)


def changes(net):
    return [(c.module, c.place) for c in plan_conversion(net, 'after').changes]


def test_where_the_dynopool_stands():
    """Never in a norm, nor in front of one that could be folded."""
    assert changes(BUILD['chain']()) == [('0', 'gone'), ('2', 'before'), ('2', 'gone'),
                                         ('4', 'behind')]
    assert changes(BUILD['modules']()) == [
        ('0.conv', 'gone'), ('0', 'behind'), ('1.conv', 'gone'), ('1.activate', 'behind'),
        ('2.conv', 'gone'), ('2', 'behind')]
    assert changes(HRNetLike())[:2] == [('conv', 'gone'), ('layer.0', 'before')]
    # Both is an output and is read: not before the reader alone.
    both = Run(lambda m, x: (lambda y: [y, m.b(y)])(m.bn(m.a(x))), a=conv(3, 4, 3, 2),
               bn=nn.BatchNorm2d(4), b=conv(4, 4))
    assert changes(both) == [('a', 'behind')]
    # What no norm stands behind, or one that nothing folds, is as it was.
    plain = Run(lambda m, x: (lambda y: m.b(y) + m.c(y))(F.relu(m.n(m.a(x)))), a=conv(3, 4, 3, 2),
                n=nn.GroupNorm(2, 4), b=conv(4, 4), c=conv(4, 4))
    assert changes(plain) == [('a', 'behind')]
