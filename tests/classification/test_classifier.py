"""The classifier: its cost, its registries, what it refuses."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

pytest.importorskip('mmpretrain', reason='make test-classification has an environment with it')

import mmpretrain.registry
import mmseg.registry
from mmpretrain.structures import DataSample

import mmseg_dynopool
from mmseg_dynopool.analysis.evaluation import evaluate
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.classification import DynOPoolImageClassifier
from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.learning import add_cost_gradient
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from support.commands import tool

VGG = dict(type='VGG', depth=11, norm_cfg=dict(type='BN'), with_last_pool=False)
HEAD = dict(type='LinearClsHead', num_classes=10, in_channels=512,
            loss=dict(type='CrossEntropyLoss'))


def build(backbone=VGG, head=HEAD, neck='GlobalAveragePooling', **options):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    options = dict(dynopool=dict(rule='after')) | options
    return mmpretrain.registry.MODELS.build(dict(
        type='DynOPoolImageClassifier', backbone=backbone, head=head,
        neck=neck and dict(type=neck), **options))


def batch():
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(4, 3, 32, 32, generator=generator),
            [DataSample().set_gt_label(k) for k in range(4)])


def cost_of(model):
    return probe_complexity(model, (32, 32), forward=forward_without_postprocessing)


def test_the_cost_acts_on_alpha_alone():
    """Its gradient is lambda times the slope of the GMACs; the rest is the stock classifier's."""
    model = build()
    cost = cost_of(model)
    gradients = []
    for weight in (0., 3.):
        model.parse_losses(model.loss(*batch()))[0].backward()
        add_cost_gradient(model, cost, weight)
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        model.zero_grad()
    alphas = {name: pool.alpha for name, pool in learned_pools(model).items()}
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
                costs.append(cost.gmacs(moved).item())
            slope = (costs[0] - costs[1]) / 2e-4
            assert priced[axis] - free[axis] == pytest.approx(3 * slope, rel=1e-2, abs=1e-5)
            assert slope < 0  # a larger alpha is a smaller map


def test_the_network_at_the_start_is_the_stock_one():
    ours = build()
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
                           ('DynOPoolBackbone', 'MODELS'), ('StretchImage', 'TRANSFORMS'),
                           ('DynOPoolImageClassifier', 'MODELS')):
        theirs, ours = (getattr(package.registry, registry) for package in (mmpretrain, mmseg))
        assert theirs.get(name) is ours.get(name) is theirs.get(f'mmpretrain.{name}') is not None
    assert mmseg_dynopool.DynOPoolImageClassifier is DynOPoolImageClassifier
    assert mmseg.registry.MODELS.get('DynOPoolImageClassifier') is DynOPoolImageClassifier


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
          head=dict(type='ClsHead')), 'classifier.0 fails for an image of 3 x 704 x 832')])
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


CLASSES = [f'class {k}' for k in range(300)]


@pytest.fixture
def flowers(tmp_path):
    """A project with six images of class 255 and a config as mmpretrain writes them."""
    rng = np.random.default_rng(0)
    lines = []
    for k in range(6):
        path = tmp_path / f'{k}.png'
        cv2.imwrite(str(path), rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        lines.append(f'{k}.png 255\n')
    (tmp_path / 'list.txt').write_text(''.join(lines))
    loader = dict(batch_size=2, num_workers=0, collate_fn=dict(type='default_collate'),
                  sampler=dict(type='DefaultSampler', shuffle=False),
                  dataset=dict(type='CustomDataset', data_root=str(tmp_path), ann_file='list.txt',
                               metainfo=dict(classes=CLASSES),
                               pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
    return Config(dict(
        default_scope='mmpretrain', train_dataloader=loader, val_dataloader=loader,
        val_evaluator=dict(type='Accuracy'), val_cfg={},
        train_cfg=dict(by_epoch=True, max_epochs=1),
        data_preprocessor=dict(num_classes=300, mean=[100., 110., 120.], std=[50., 60., 70.]),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)), work_dir=str(tmp_path / 'work'),
        model=dict(type='ImageClassifier', backbone=VGG, neck=dict(type='GlobalAveragePooling'),
                   head=dict(HEAD, num_classes=300))))


def test_a_preprocessor_at_the_top_level(flowers):
    """As mmpretrain's own configs have it; the loaded network normalizes by it."""
    init_default_scope('mmpretrain')
    model = load_network(flowers, None)
    assert model.data_preprocessor.mean.flatten().tolist() == [100., 110., 120.]
    assert 'data_preprocessor' not in flowers.model


def test_class_255_counts(flowers):
    init_default_scope('mmpretrain')
    model = load_network(flowers, None)
    torch.nn.init.zeros_(model.head.fc.weight)
    with torch.no_grad():
        model.head.fc.bias.copy_(torch.arange(300) == 255)
    found = evaluate(model, flowers)
    assert found.score() == 100 and found.truth.sum() == 6
    assert found.class_scores()['class 255'] == 100


def test_classes_without_notes(flowers, tmp_path):
    """Of the data set, else none: not those of Cityscapes."""
    init_default_scope('mmpretrain')
    torch.save(load_network(flowers, None).state_dict(), tmp_path / 'weights.pth')
    flowers.test_dataloader = flowers.val_dataloader
    model = load_network(flowers, str(tmp_path / 'weights.pth'))
    assert model.dataset_meta == dict(classes=CLASSES)
    flowers.pop('test_dataloader')
    assert load_network(flowers, str(tmp_path / 'weights.pth')).dataset_meta == {}


def test_a_stock_config_needs_no_import_of_ours(flowers, tmp_path):
    """tools/train.py adds our hooks and samplers to mmpretrain's registries itself."""
    flowers.dump(tmp_path / 'pure.py')
    printed = tool('train', tmp_path / 'pure.py', cwd=tmp_path)
    assert 'accuracy/top1' in printed and list((tmp_path / 'work').glob('epoch_1.pth'))
    for name, words in (('infer', 'infer takes segmentors'),
                        ('visualize', 'receptive-field takes segmentors')):
        command = ['receptive-field'] if name == 'visualize' else []
        assert words in tool(name, *command, tmp_path / 'pure.py', tmp_path / 'work/epoch_1.pth',
                             tmp_path / '0.png', '--out', tmp_path / 'out.png', cwd=tmp_path,
                             ok=False)


def train(flowers, model, **hook):
    """Three iterations with `DynOPoolHook`; returns the runner."""
    flowers.update(train_cfg=dict(by_epoch=True, max_epochs=1), val_dataloader=None, val_cfg=None,
                   val_evaluator=None, custom_hooks=[dict(type='DynOPoolHook', **hook)])
    runner = Runner(model=model, default_scope='mmpretrain', experiment_name=str(id(model)), **{
        k: flowers[k] for k in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'work_dir',
                                'custom_hooks')})
    runner.train()
    return runner


def for_flowers(**options):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    return build(head=dict(HEAD, num_classes=300), data_preprocessor=dict(num_classes=300),
                 **options)


def test_the_log_names_the_cost(flowers):
    """At the size of the first batch, which the preprocessor does not tell."""
    model = for_flowers()
    start = model.count_gmacs((32, 32))
    scalars = train(flowers, model, gmacs_weight=2.).message_hub.log_scalars

    def logged(name):
        return [float(value) for value in scalars[f'train/{name}']._log_history]

    assert logged('gmacs')[0] == pytest.approx(start, rel=1e-6)
    assert logged('gmacs_ratio')[0] == 1
    assert logged('loss_gmacs') == pytest.approx([2 * g for g in logged('gmacs')], rel=1e-6)
    assert len(logged('loss_gmacs')) == 3


def test_mixed_images_have_their_own_scores(flowers):
    """Mixup writes scores into the batch's samples; the measurement starts from the labels."""
    model = for_flowers(train_cfg=dict(augments=[dict(type='Mixup', alpha=1.)]))
    seen = []
    original = model.data_preprocessor.forward
    model.data_preprocessor.forward = lambda data, training=False: (
        seen.append([getattr(s, 'gt_score', None) for s in data['data_samples']]),
        original(data, training))[1]
    train(flowers, model, gmacs_weight=0., gmacs_shape=(32, 32), gradient='learner', every=1)
    # Three passes of the training, two more for each step until the scales stay.
    assert len(seen) == 3 + 2 * 2 and all(score is None for scores in seen for score in scores)
