"""The classification configs: the supplement's numbers, and the networks that they build."""

import copy
import math
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from support.toys import ROOT

pytest.importorskip('mmpretrain', reason='needs mmpretrain, in an environment of its own')

from mmcv.transforms import Compose
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import DATASETS, MODELS, PARAM_SCHEDULERS, TRANSFORMS

import mmseg_dynopool.classification  # noqa: F401  registers
from mmseg_dynopool.config import adapt_to_devices, counted_shape
from mmseg_dynopool.costs.meta_copy import to_meta_copy
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.models.cost import count_network_gmacs, network_counter

# Tables 1 and 2 of the supplement. Of DynOPool-S and -B: lambda, and the initial scale of the
# first resizing layer. The optimizer is SGD with a momentum of 0.9, the schedule cosine annealing.
TABLES = """
aircraft  vgg16         lr 1e-2  alpha 1e-2  decay 5e-4  S 3.07e-5 0.5  B 6.51e-6 0.5
aircraft  resnet50      lr 1e-2  alpha 1e-2  decay 5e-4  S 3.99e-5 0.5  B 0       0.7
aircraft  mobilenet_v2  lr 1e-2  alpha 1e-2  decay 4e-5  S 3.00e-5 0.5  B 0       0.5
cifar100  vgg16         lr 1e-1  alpha 1e-2  decay 5e-4  S 2.20e-4 0.5  B 1.59e-5 0.5
cifar100  resnet50      lr 1e-1  alpha 1e-2  decay 5e-4  S 0       0.6  B 0       0.8
cifar100  mobilenet_v2  lr 1e-1  alpha 1e-2  decay 4e-5  S 5.00e-5 0.5  B 1.00e-7 0.5
imagenet  vgg16         lr 1e-1  alpha 5e-3  decay 5e-4  S 1.00e-4 0.5  B 7.00e-5 0.5
imagenet  resnet50      lr 1e-1  alpha 5e-3  decay 5e-4  S 8.00e-5 0.5  B 2.00e-5 0.5
imagenet  mobilenet_v2  lr 5e-2  alpha 5e-3  decay 4e-5  S 4.00e-5 0.5  B 1.00e-5 0.5
"""
MOMENTUM = 0.9
BATCH = dict(aircraft=8, cifar100=128, imagenet=64)  # the last per GPU
GPUS = dict(aircraft=1, cifar100=1, imagenet=4)
EPOCHS = dict(aircraft=250, cifar100=250, imagenet=120)
# Section 1.2: trained like another network; lambda.
LIKE = dict(
    efficientnet_b0_dynopool_imagenet=('vgg16_dynopool_s_imagenet', 2.50e-5),
    vgg16_dynopool_cifar100_stretch=('vgg16_dynopool_s_cifar100', 2.33e-4),
    vgg16_dynopool_cifar100_tile=('vgg16_dynopool_s_cifar100', 7.21e-5),
    vgg16_dynopool_cifar100_large=('vgg16_dynopool_s_cifar100', 5.03e-5))
CLASSES = dict(aircraft=100, cifar100=100, imagenet=1000)
SIZES = dict(aircraft=(224, 224), cifar100=(32, 32), imagenet=(224, 224))
DISTORTED_SIZES = dict(stretch=(64, 32), tile=(64, 64), large=(64, 64))
# Resizing layers, of which ResNet-50's first stands for two (section 1.1).
LEVELS = dict(
    vgg16='stride2 stride4 stride8 stride16', resnet50='stride4 stride8 stride16 stride32',
    mobilenet_v2='stride2 stride4 stride8 stride16 stride32',
    efficientnet_b0='stride2 stride4 stride8 stride16 stride32')
CIFAR_LEVELS = dict(LEVELS, resnet50='stride2 stride4 stride8',
                    mobilenet_v2='stride2 stride4 stride8')


class Recipe(NamedTuple):
    """What the supplement says of a config; of a fixed network ``weight`` and ``start`` are None.
    """

    network: str
    data: str
    lr: float
    alpha_lr: float
    decay: float
    weight: float | None = None
    start: float | None = None


def _read_tables() -> dict[str, Recipe]:
    recipes = {}
    for line in TABLES.strip().splitlines():
        data, network, _, lr, _, alpha, _, decay, _, s_weight, s_start, _, b_weight, b_start = (
            line.split())
        fixed = Recipe(network, data, float(lr), float(alpha), float(decay))
        recipes[f'{network}_fixed_{data}'] = fixed
        for variant, weight, start in (('s', s_weight, s_start), ('b', b_weight, b_start)):
            recipes[f'{network}_dynopool_{variant}_{data}'] = fixed._replace(
                weight=float(weight), start=float(start))
    for name, (model, weight) in LIKE.items():
        network = name.partition('_dynopool')[0]
        recipes[name] = recipes[model]._replace(network=network, weight=weight)
        recipes[name.replace('dynopool', 'fixed')] = recipes[name]._replace(
            weight=None, start=None)
    return recipes


RECIPES = _read_tables()
CONFIGS = ROOT / 'configs/classification'
DYNOPOOL = [name for name, recipe in RECIPES.items() if recipe.weight is not None]
# All tests of one, then those of the next: it is built once.
each_dynopool = pytest.mark.parametrize('name', DYNOPOOL, scope='module')


def fixed_name(name):
    """The baseline's config."""
    for variant in ('dynopool_s', 'dynopool_b', 'dynopool'):
        name = name.replace(variant, 'fixed')
    return name


def training_size(name):
    """``(H, W)`` of the training images."""
    return DISTORTED_SIZES.get(name.rpartition('_')[2], SIZES[RECIPES[name].data])


@cache
def load(name):
    return Config.fromfile(CONFIGS / f'{name}.py')


@lru_cache(maxsize=2)
def build(name):
    """The network, on the CPU; not to be changed."""
    init_default_scope('mmpretrain')
    return MODELS.build(copy.deepcopy(load(name).model))  # it completes what it is given


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    init_default_scope('mmpretrain')


def test_every_config_is_one_of_the_supplement():
    names = {path.stem for path in CONFIGS.glob('*.py') if not path.stem.startswith('evidence_')}
    assert names == set(RECIPES)
    assert len(names) == 27 + 2 + 6


@pytest.mark.parametrize('name', RECIPES)
def test_recipe(name):
    cfg, recipe = load(name), RECIPES[name]
    data, imagenet = recipe.data, recipe.data == 'imagenet'
    assert cfg.default_scope == 'mmpretrain'
    assert cfg.custom_imports.imports == ['mmseg_dynopool.classification']
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=recipe.lr, momentum=MOMENTUM, weight_decay=recipe.decay)
    assert cfg.optim_wrapper.type == ('AmpOptimWrapper' if imagenet else 'OptimWrapper')
    assert cfg.optim_wrapper.get('loss_scale') == ('dynamic' if imagenet else None)
    assert cfg.train_dataloader.batch_size == BATCH[data]
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=GPUS[data] * BATCH[data])
    assert cfg.train_cfg == dict(
        type='EpochBasedTrainLoop', max_epochs=EPOCHS[data], val_interval=1)
    assert cfg.param_scheduler == [dict(
        type='CosineAnnealingLR', T_max=EPOCHS[data], eta_min=0, begin=0, end=EPOCHS[data],
        by_epoch=True)]
    assert cfg.model.head.num_classes == cfg.model.data_preprocessor.num_classes == CLASSES[data]
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        kind = DATASETS.get(cfg[loader].dataset.type)
        assert len(kind.METAINFO['classes']) == CLASSES[data]
    assert cfg.val_evaluator == cfg.test_evaluator == dict(type='Accuracy', topk=(1, 5))
    if recipe.weight is None:
        assert cfg.model.type == 'ImageClassifier'
        assert 'dynopool' not in cfg.model
        assert 'custom_hooks' not in cfg and 'paramwise_cfg' not in cfg.optim_wrapper
    else:
        assert cfg.model.type == 'DynOPoolImageClassifier'
        assert cfg.model.dynopool.rule == 'after'
        assert cfg.custom_hooks == [dict(type='DynOPoolHook', gmacs_weight=recipe.weight,
                                         gmacs_shape=training_size(name))]
        assert counted_shape(cfg) == training_size(name)
    assert not {'gmacs_weight', 'gmacs_shape', 'gmacs_budget', 'latency_budget'} & set(cfg.model)
    Config.fromstring(cfg.pretty_text, '.py')


@each_dynopool
def test_what_differs_from_the_baseline(name):
    cfg, fixed = dict(load(name)), dict(load(fixed_name(name)))
    changed = {key for key in {*cfg, *fixed} if cfg.get(key) != fixed.get(key)}
    assert changed == {'model', 'optim_wrapper', 'custom_hooks'}
    for key in ('data_preprocessor', 'backbone', 'neck', 'head'):
        assert cfg['model'][key] == fixed['model'][key]


@each_dynopool
def test_lr_of_alpha_in_the_optimizer(name, monkeypatch):
    """Each parameter's own, on a machine without CUDA."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    recipe, model = RECIPES[name], build(name)
    options = adapt_to_devices(copy.deepcopy(load(name))).optim_wrapper
    alphas = {id(pool.alpha) for pool in learned_pools(model).values()}
    optimizer = build_optim_wrapper(model, options).optimizer
    assert isinstance(optimizer, torch.optim.SGD)
    seen = 0
    for group in optimizer.param_groups:
        for parameter in group['params']:
            is_alpha = id(parameter) in alphas
            seen += is_alpha
            assert group['lr'] == pytest.approx(
                recipe.alpha_lr if is_alpha else recipe.lr, rel=1e-12)
            assert group['weight_decay'] == (0 if is_alpha else recipe.decay)
            assert group['momentum'] == MOMENTUM
    assert seen == len(alphas)


@each_dynopool
def test_network_at_the_start(name):
    """The baseline's parameters and sizes, two alphas per level, and the table's scales."""
    recipe, model, fixed = RECIPES[name], build(name), build(fixed_name(name))
    levels = (CIFAR_LEVELS if recipe.data == 'cifar100' else LEVELS)[recipe.network].split()
    expected = dict.fromkeys(levels, (0.5, 0.5))
    merged = 0.5 if levels[0] == 'stride4' else 1  # with a second resizing layer of 0.5
    expected[levels[0]] = (merged * recipe.start, ) * 2
    pools = model.backbone.dynopools
    assert {level: pool.initial_scale for level, pool in pools.items()} == expected

    shapes = {key: value.shape for key, value in model.state_dict().items()}
    alphas = {f'backbone.dynopools.{level}.alpha': (2, ) for level in levels}
    assert shapes == {key: value.shape for key, value in fixed.state_dict().items()} | alphas
    assert isinstance(model.head.fc, torch.nn.Linear)
    assert sum(isinstance(module, torch.nn.Linear) for module in model.modules()) == 1

    image = torch.empty(1, 3, *training_size(name), device='meta')
    with torch.no_grad():
        feature, stock = (to_meta_copy(m).backbone(image)[-1] for m in (model, fixed))
    if recipe.start == 0.5:
        assert feature.shape == stock.shape
    else:  # at the end of a chain of rounded sizes
        sizes = image.shape[2:]
        for level in levels:
            sizes = [math.floor(n * s + 0.5) for n, s in zip(sizes, expected[level])]
        assert feature.shape == (*stock.shape[:2], *sizes)


@pytest.mark.parametrize('name', [name for name in RECIPES if '_b_' not in name])
def test_pipelines(name):
    """An image as the data set hands it over, or for those of files as it is loaded."""
    cfg = load(name)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        transforms = list(cfg[loader].dataset.pipeline)
        cifar = RECIPES[name].data == 'cifar100'
        if not cifar:
            assert transforms.pop(0).type == 'LoadImageFromFile'
        size = (32, 32) if cifar else (300, 400)
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        sample = Compose([TRANSFORMS.build(t) for t in transforms])(
            dict(img=image, img_shape=size, ori_shape=size, gt_label=3))
        assert sample['inputs'].shape == (3, *training_size(name))
        assert sample['data_samples'].gt_label.tolist() == [3]


@pytest.mark.parametrize('data', ['aircraft', 'cifar100', 'imagenet'])
def test_schedule(data):
    """Half a cosine, of the weights' lr and of alpha's."""
    cfg = load(f'vgg16_dynopool_s_{data}')
    lr, alpha_lr = RECIPES[f'vgg16_dynopool_s_{data}'][2:4]
    optimizer = torch.optim.SGD([dict(params=[torch.zeros(1, requires_grad=True)], lr=lr),
                                 dict(params=[torch.zeros(1, requires_grad=True)], lr=alpha_lr)])
    scheduler = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler[0], optimizer=optimizer))
    for epoch in range(EPOCHS[data]):
        factor = (1 + math.cos(math.pi * epoch / EPOCHS[data])) / 2
        assert [group['lr'] for group in optimizer.param_groups] == pytest.approx(
            [lr * factor, alpha_lr * factor], rel=1e-9)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize('network, published', [
    ('vgg16', 15.5),
    ('resnet50', 4.1),
    ('mobilenet_v2', 0.300),  # of its paper; see below for 0.32
    ('efficientnet_b0', 0.39),  # of its paper; see below for 0.42
])
def test_published_multiply_adds(network, published):
    model = build(f'{network}_fixed_imagenet')
    assert count_network_gmacs(model, (224, 224)) == pytest.approx(published, rel=0.03)


# Multiply-adds in mmpretrain's model zoo, as printed, with half a unit of their last digit. They
# leave out the last layer, and count other values, too: those of norms several times.
ZOO = dict(
    vgg16=(15.53e9, 0.005e9, dict(BatchNorm2d=2, ReLU=1)),
    resnet50=(4.12e9, 0.005e9, dict(BatchNorm2d=2, ReLU=1)),
    mobilenet_v2=(319e6, 0.5e6, dict(BatchNorm2d=2, ReLU6=1)),
    efficientnet_b0=(420592480, 0, dict(BatchNorm2d=5)))


@pytest.mark.parametrize('network', ZOO)
def test_published_counts_of_the_zoo(network):
    published, accuracy, per_value = ZOO[network]
    model = build(f'{network}_fixed_imagenet')
    counted = sum(call.macs for call in network_counter(model, (224, 224)).calls()
                  if call.op == 'convolution')
    copied = to_meta_copy(model, strip=False)

    def count(module, args, output):
        nonlocal counted
        kind = type(module).__name__
        counted += per_value.get(kind, 0) * output.numel()
        counted += args[0].numel() if 'Pool2d' in kind else 0
        if network == 'vgg16' and kind == 'Conv2d':
            counted += output.numel()  # its bias

    for module in copied.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with torch.no_grad():
        copied.extract_feat(torch.empty(1, 3, 224, 224, device='meta'))
    if network == 'vgg16':  # three fully connected layers, where ours has one
        counted += 512 * 7 * 7 * 4096 + 4096 * 4096 + 4096 * 1000
    assert abs(counted - published) <= accuracy
