"""Classifiers by the command lines, on tiny data in the real formats."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

pytest.importorskip('mmpretrain', reason='make test-classification has an environment with it')

from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS

from mmseg_dynopool.checkpoints import load_network
from support.classification_data import write_aircraft, write_cifar100, write_imagenet
from support.commands import scalars, tool
from support.toys import ROOT

CONFIGS = ROOT / 'configs' / 'classification'
FOLDERS = dict(cifar100='cifar100', aircraft='fgvc-aircraft-2013b', imagenet='imagenet')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A project's folder with all three data sets where the configs look for them."""
    folder = tmp_path_factory.mktemp('project')
    with pytest.MonkeyPatch.context() as patch:
        write_cifar100(folder / 'data' / 'cifar100', patch)
        write_aircraft(folder / 'data' / 'fgvc-aircraft-2013b')
        write_imagenet(folder / 'data' / 'imagenet')
        yield folder


def train(folder, config, work_dir, *options, epochs=1, ok=True, flags=()):
    small = ['train_dataloader.batch_size=2', 'train_dataloader.num_workers=0',
             'train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0',
             'val_dataloader.persistent_workers=False', f'train_cfg.max_epochs={epochs}',
             'default_hooks.logger.interval=1', 'randomness.seed=0']
    return tool('train', config, '--work-dir', work_dir, *flags, '--cfg-options',
                *small, *options, cwd=folder, ok=ok)


@pytest.mark.parametrize('name,format', [
    ('vgg16_dynopool_s_cifar100', 'onnx'), ('resnet50_dynopool_b_aircraft', 'torch-export'),
    ('mobilenet_v2_dynopool_b_imagenet', 'torch-export'),
    ('efficientnet_b0_dynopool_imagenet', 'torch-export')])
def test_trains_resumes_freezes_exports(folder, name, format):
    """Two iterations, validation, a checkpoint, two more from it; then what is deployed."""
    config, run = CONFIGS / f'{name}.py', folder / name
    printed = train(folder, config, name)
    assert 'accuracy/top1' in printed
    train(folder, config, name, epochs=2, flags=['--resume'])
    lines = [line for line in scalars(run) if 'loss' in line]
    assert [line['step'] for line in lines] == [1, 2, 3, 4]
    hook, = Config.fromfile(config).custom_hooks
    weight = hook.gmacs_weight  # the log smooths losses after the first
    assert lines[0]['loss_gmacs'] == pytest.approx(weight * lines[0]['gmacs'], rel=1e-6)
    assert lines[0]['gmacs_ratio'] == pytest.approx(1, rel=1e-6)
    saved = torch.load(run / 'epoch_2.pth', weights_only=False)['state_dict']
    alphas = {k: v for k, v in saved.items() if k.endswith('.alpha')}
    cfg = Config.fromfile(config)
    start = load_network(cfg, None)
    for key, alpha in alphas.items():
        assert not torch.equal(alpha, start.state_dict()[key]), f'{key} did not move'

    printed = tool('freeze', config, run / 'epoch_2.pth', '--out', 'frozen', cwd=folder)
    assert 'bit for bit' in printed
    frozen = Config.fromfile(folder / 'frozen' / 'config.py')
    assert frozen.model.type == 'ImageClassifier' and frozen.custom_hooks == []
    model = load_network(cfg, str(run / 'epoch_2.pth'))
    plain = load_network(frozen, str(folder / 'frozen' / 'weights.safetensors'))
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(dict(cfg.val_dataloader.dataset, data_root=str(
        folder / cfg.val_dataloader.dataset.data_root)))
    batch = pseudo_collate([dataset[0], dataset[1]])
    scores = [[s.pred_score for s in network.val_step(batch)] for network in (model, plain)]
    assert torch.equal(torch.stack(scores[0]), torch.stack(scores[1]))
    shape = dataset[0]['inputs'].shape[1:]
    printed = tool('export', config, run / 'epoch_2.pth', '--shape', *shape, '--format', format,
                   '--out', f'net{dict(onnx=".onnx").get(format, ".pt2")}', cwd=folder)
    assert 'ok: net' in printed
    if format == 'onnx':
        import onnxruntime
        session = onnxruntime.InferenceSession(folder / 'net.onnx')
        image = model.data_preprocessor(batch)['inputs'][:1]
        logits, = session.run(None, {'image': image.numpy()})
        with torch.no_grad():
            expected = model(image, mode='tensor')
        np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-3, atol=1e-4)


BUDGET = f"""
_base_ = {str(CONFIGS / 'vgg16_dynopool_s_cifar100.py')!r}
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.7), gmacs_shape=(32, 32))]
"""


@pytest.fixture(scope='module')
def budgeted(folder):
    """VGG-16 with a budget, and the fixed one beside it."""
    (folder / 'budget.py').write_text(BUDGET)
    train(folder, folder / 'budget.py', 'learned', epochs=5)
    train(folder, CONFIGS / 'vgg16_fixed_cifar100.py', 'fixed')
    return folder


def test_meets_its_budget(budgeted):
    lines = [line for line in scalars(budgeted / 'learned') if 'gmacs_ratio' in line]
    plan = [line['gmacs_plan'] for line in lines]
    assert len(lines) == 10 and plan[:2] == [1, 1] and plan[5:] == pytest.approx([0.7] * 5)
    assert [line['gmacs_ratio'] for line in lines[:9]] == pytest.approx(plan[:9], rel=1e-4)
    network = load_network(Config.fromfile(budgeted / 'learned/budget.py'),
                           str(budgeted / 'learned/epoch_5.pth'))
    fixed = load_network(Config.fromfile(CONFIGS / 'vgg16_dynopool_s_cifar100.py'), None)
    counts = [network.count_gmacs((32, 32)) for network in (network, fixed)]
    assert counts[0] / counts[1] == pytest.approx(0.7, rel=0.05)


def test_test_gives_the_last_validation(budgeted):
    last = [line for line in scalars(budgeted / 'learned') if 'accuracy/top1' in line][-1]
    printed = tool('test', 'learned/budget.py', 'learned/epoch_5.pth',
                   cwd=budgeted)
    assert f"accuracy/top1: {last['accuracy/top1']:.4f}" in printed
    assert 'GMACs at 32 x 32' in printed
    assert 'are of segmentors' in tool('test', 'learned/budget.py',
                                       'learned/epoch_5.pth', '--out', 'maps', cwd=budgeted,
                                       ok=False)


def test_counts_converts_draws_reports(budgeted):
    config, checkpoint = 'learned/budget.py', 'learned/epoch_5.pth'
    printed = tool('get_flops', config, checkpoint, '--json', cwd=budgeted)
    counted = json.loads(printed[printed.index('{'):printed.rindex('}') + 1])
    assert counted['shape'] == [32, 32] and counted['stock_gmacs'] == pytest.approx(0.3137, rel=.01)
    assert counted['gmacs'] / counted['stock_gmacs'] == pytest.approx(0.7, rel=0.05)
    assert list(counted['instances']) == ['stride2', 'stride4', 'stride8', 'stride16']

    printed = tool('get_flops', CONFIGS / 'vgg16_fixed_cifar100.py', '--shape', 32, 32,
                   cwd=budgeted)
    gmacs = f'{counted["stock_gmacs"]:.4g}'
    assert f'{counted["stock_params"]:,} parameters, {gmacs} GMACs at 32 x 32' in printed
    assert 'give --shape H W' in tool('get_flops', CONFIGS / 'vgg16_fixed_cifar100.py',
                                      cwd=budgeted, ok=False)

    printed = tool('convert', CONFIGS / 'vgg16_fixed_cifar100.py', '--rule', 'after', '--shape',
                   32, 32, '--json', cwd=budgeted)
    plan = json.loads(printed[printed.index('{'):printed.rindex('}') + 1])
    assert plan['stock_gmacs'] == pytest.approx(counted['stock_gmacs'], rel=1e-9)
    assert plan['refusals'] == []

    tool('visualize', 'shapes', 'learned', '--config', config, '--checkpoint', checkpoint,
         '--out', 'shapes', cwd=budgeted)
    for name in ('evolution.png', 'network.png'):
        assert cv2.imread(str(budgeted / 'shapes' / name)).std() > 10

    tool('report', 'learned', '--baseline', 'fixed', '--repeats', 1, cwd=budgeted)
    page = (budgeted / 'learned' / 'report.html').read_text()
    last = [line for line in scalars(budgeted / 'learned') if 'accuracy/top1' in line][-1]
    assert f"<dt>Top-1 accuracy</dt><dd>{last['accuracy/top1']:.2f} %" in page
    assert 'baseline (the stock network)' in page and 'Validation images' not in page
    assert 'DynOPoolImageClassifier: VGG + LinearClsHead' in page


@pytest.mark.parametrize('name,options,message', [
    ('vgg16_dynopool_s_cifar100', ['train_dataloader.dataset.data_root=data/lost'],
     "'data/lost' does not exist"),
    ('resnet50_dynopool_s_aircraft', ['val_dataloader.dataset.data_root=data/cifar100'],
     'FGVCAircraft cannot be built'),
    ('mobilenet_v2_fixed_imagenet', ['model.head.num_classes=10'],
     'are not all classes of model.head.num_classes=10'),
    ('vgg16_dynopool_s_cifar100', ['custom_hooks.0.gmacs_budget.target=0.6'],
     'give either gmacs_weight (got 0.00022) or gmacs_budget'),
    ('vgg16_dynopool_s_cifar100', ['model.gmacs_budget.target=0.6'],
     'give either gmacs_weight (got 0.00022) or gmacs_budget'),
    ('vgg16_dynopool_s_cifar100', ['model.dynopool.rule=between'], "got 'between'"),
    ('vgg16_dynopool_s_cifar100', ['model.dynopool.skip=.*'],
     "skip: '.*' matches no strided module"),
])
def test_bad_input(folder, name, options, message):
    """The message names what is wrong, before anything is trained."""
    assert message in train(folder, CONFIGS / f'{name}.py', 'bad', *options, ok=False)
    assert not list((folder / 'bad').glob('*.pth'))
