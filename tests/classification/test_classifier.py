"""The classifier: its loss, its registries, what it refuses."""

import subprocess
import sys

import pytest
import torch
from mmengine.registry import init_default_scope

pytest.importorskip('mmpretrain', reason='make test-classification has an environment with it')

import mmpretrain.registry
import mmseg.registry
from mmpretrain.structures import DataSample

import mmseg_dynopool
from mmseg_dynopool.classification import DynOPoolImageClassifier

VGG = dict(type='VGG', depth=11, norm_cfg=dict(type='BN'), with_last_pool=False)
HEAD = dict(type='LinearClsHead', num_classes=10, in_channels=512,
            loss=dict(type='CrossEntropyLoss'))


def build(backbone=VGG, head=HEAD, neck='GlobalAveragePooling', **options):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    options = dict(dynopool=dict(rule='after'), gmacs_shape=(32, 32)) | options
    return mmpretrain.registry.MODELS.build(dict(
        type='DynOPoolImageClassifier', backbone=backbone, head=head,
        neck=neck and dict(type=neck), **options))


def batch():
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(4, 3, 32, 32, generator=generator),
            [DataSample().set_gt_label(k) for k in range(4)])


def test_the_cost_acts_on_alpha_alone():
    """Its gradient is lambda times the slope of the GMACs; the rest is the stock classifier's."""
    gradients = []
    for weight in (0., 3.):
        model = build(gmacs_weight=weight)
        losses = model.loss(*batch())
        model.parse_losses(losses)[0].backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    alphas = {name: pool.alpha for name, pool in model.pools().items()}
    assert len(alphas) == 4
    for name, (free, priced) in ((n, [g[n] for g in gradients]) for n in gradients[0]):
        if not name.endswith('.alpha'):
            assert torch.equal(free, priced)
            continue
        owner = name.removesuffix('.alpha')
        for axis in (0, 1):
            costs = []
            for sign in (1, -1):
                moved = {n: a.detach().double().clone() for n, a in alphas.items()}
                moved[owner][axis] += sign * 1e-4
                costs.append(model.cost.gmacs(moved).item())
            slope = (costs[0] - costs[1]) / 2e-4
            assert priced[axis] - free[axis] == pytest.approx(3 * slope, rel=1e-2, abs=1e-5)
            assert slope < 0  # a larger alpha is a smaller map


def test_the_loss_names_the_cost():
    model = build(gmacs_weight=2.)
    losses = model.loss(*batch())
    assert losses['gmacs'].item() == pytest.approx(model.count_gmacs(), rel=1e-6)
    assert losses['loss_gmacs'].item() == pytest.approx(2 * losses['gmacs'].item(), rel=1e-6)
    assert losses['gmacs_ratio'].item() == 1


def test_the_network_at_the_start_is_the_stock_one():
    ours = build(gmacs_weight=0.)
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    stock = mmpretrain.registry.MODELS.build(dict(
        type='ImageClassifier', backbone=VGG, neck=dict(type='GlobalAveragePooling'), head=HEAD))
    missing, unexpected = ours.load_state_dict(stock.state_dict(), strict=False)
    assert unexpected == [] and len(missing) == 4 and all(k.endswith('.alpha') for k in missing)
    image = batch()[0]
    for model in (ours, stock):
        model.eval()
    with torch.no_grad():  # rule 1 at r = 0.5 is the max pooling
        assert torch.equal(ours(image, mode='tensor'), stock(image, mode='tensor'))


def test_registries_are_shared():
    for name, registry in (('DynOPoolHook', 'HOOKS'), ('MeasuredGradientHook', 'HOOKS'),
                           ('SeededSampler', 'DATA_SAMPLERS'), ('SeededDataset', 'DATASETS'),
                           ('DynOPoolLogProcessor', 'LOG_PROCESSORS'),
                           ('CPUAmpOptimWrapper', 'OPTIM_WRAPPERS'),
                           ('DynOPoolBackbone', 'MODELS')):
        theirs, ours = (getattr(package.registry, registry) for package in (mmpretrain, mmseg))
        assert theirs.get(name) is ours.get(name) is not None
    assert mmseg_dynopool.DynOPoolImageClassifier is DynOPoolImageClassifier
    assert mmseg.registry.MODELS.get('DynOPoolImageClassifier') is None


def test_the_plugin_itself_does_not_import_mmpretrain():
    code = ('import mmseg_dynopool, sys; mmseg_dynopool.DynOPoolHook; '
            "print(sorted(m for m in sys.modules if m.startswith('mmseg_dynopool.class')))")
    printed = subprocess.run(
        [sys.executable, '-c', 'from support.torchvision_operators import declare_missing_operators'
         f'; declare_missing_operators(); {code}'], text=True, capture_output=True, check=True,
        cwd=mmseg_dynopool.__path__[0] + '/../tests')
    assert printed.stdout.splitlines()[-1] == '[]'


@pytest.mark.parametrize('options,message', [
    (dict(gmacs_weight=1., gmacs_budget=dict(target=0.5)), 'give either gmacs_weight'),
    (dict(gmacs_weight=-1.), 'gmacs_weight must be a finite number >= 0, got -1'),
    (dict(dynopool=None), 'needs a network with DynOPools, but backbone VGG'),
    (dict(dynopool=dict(rule='after', scales=0.5)), r"unknown dynopool options \['scales'\]"),
    (dict(gmacs_budget=dict(target=0.)), 'target'),
    (dict(backbone=dict(type='VGG', depth=11, num_classes=10), neck=None,
          head=dict(type='ClsHead')), 'stock sizes alone|cannot be converted|fails')])
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)
