"""Every config: the recipe, and a network that builds and runs."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, HOOKS, MODELS, TRANSFORMS

from mmseg_dynopool.config import adapt_to_devices, counted_shape
from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.learning import BudgetKeeper, LearnedScales
from mmseg_dynopool.models import count_network_gmacs
from mmseg_dynopool.models.cost import network_counter
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from support.toys import ROOT

CONFIGS = sorted((ROOT / 'configs').glob('*.py'))
HALF = dict(type='DynOPoolHook', gmacs_budget=dict(target=0.5))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
def test_config_builds_and_runs(path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = adapt_to_devices(Config.fromfile(path))
    assert 'SyncBN' not in str(cfg.model)
    model = MODELS.build(cfg.model)
    model.eval()
    with torch.no_grad():
        logits = model(torch.randn(1, 3, 64, 96), mode='tensor')
    stride = 1 if 'unet' in path.stem else 4
    head = model.decode_head[-1] if isinstance(model.decode_head,
                                               torch.nn.ModuleList) else model.decode_head
    height, width = (48, 64) if 'smaller' in path.stem else (64, 96)  # multiples of 8
    assert logits.shape == (1, head.num_classes, height // stride, width // stride)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = cfg[loader].dataset
        dataset = dataset.datasets[0] if 'datasets' in dataset else dataset
        assert len(DATASETS.get(dataset.type).METAINFO['classes']) == head.num_classes
        for transform in dataset.pipeline:
            TRANSFORMS.build(transform)
    TRANSFORMS.build(cfg.tta_pipeline[1])
    for hook in cfg.get('custom_hooks', []):
        HOOKS.build(hook)
    assert cfg.env_cfg.cudnn_benchmark is False
    assert [s.eta_min for s in cfg.param_scheduler if s.type == 'PolyLR'] == [0]
    Config.fromstring(cfg.pretty_text, '.py')


@pytest.mark.parametrize('path', [p for p in CONFIGS if 'w48' in p.stem], ids=lambda p: p.stem)
def test_recipe_of_the_paper(path):
    cfg = Config.fromfile(path)
    assert cfg.train_cfg == dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=5)
    assert cfg.train_dataloader.batch_size == 16
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=1.6e-2, momentum=0.9,
                                               weight_decay=1e-4)
    poly, = cfg.param_scheduler
    assert (poly.type, poly.power, poly.end) == ('PolyLR', 0.9, 100)
    assert poly.by_epoch and poly.convert_to_iter_based
    if 'dynopool' in path.stem:
        with torch.device('meta'):  # without weights
            pools = MODELS.build(dict(cfg.model.backbone, init_cfg=None)).dynopools
        scales = {name: pool.initial_scale for name, pool in pools.items()}
        if 'image' in path.stem:  # not the paper's way to learn
            assert 'paramwise_cfg' not in cfg.optim_wrapper
            assert cfg.custom_hooks == [HALF]
            assert scales.pop('image') == (1, 1)
        else:
            keys = cfg.optim_wrapper.paramwise_cfg.custom_keys
            assert keys == dict(dynopools=dict(lr_mult=0.5, decay_mult=0.))
            assert cfg.custom_hooks == [dict(type='DynOPoolHook', gmacs_weight=7e-5)]
        assert set(scales.values()) == {(0.5, 0.5)}
        assert ('stem1' in scales) == ('stem' in path.stem) and 'image' not in scales
    if 'cityscapes' in path.stem:
        assert cfg.model.data_preprocessor.size == (512, 1024)
    assert cfg.model.backbone.norm_cfg.type == 'SyncBN'
    assert cfg.model.backbone.init_cfg.checkpoint == 'open-mmlab://msra/hrnetv2_w48'


@pytest.mark.parametrize('name, initial', [
    ('deeplabv3plus_r50', dict(image=1, stride4=2, stride8=2)),
    ('unet', dict(image=1, stride2=2, stride4=2, stride8=2, stride16=2)),
    ('segformer_b0', dict(image=1, stride8=2, stride16=2, stride32=2)),
])
def test_converted_network_and_its_stock_twin(name, initial):
    """The recipe is the twin's; the network starts at its cost, but for the poolings' own.

    Its budget is within reach.
    """
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}_dynopool_cityscapes.py')
    twin = Config.fromfile(ROOT / 'configs' / f'{name}_cityscapes.py')
    for key in ('train_dataloader', 'test_dataloader', 'param_scheduler', 'train_cfg',
                'default_hooks', 'test_evaluator', 'optim_wrapper'):
        assert cfg[key] == twin[key]
    assert cfg.custom_hooks == [HALF]
    model, stock = (MODELS.build(adapt_to_devices(c).model) for c in (cfg, twin))
    alphas = {name: pool.alpha.tolist() for name, pool in model.backbone.dynopools.items()}
    assert alphas == {name: [alpha, alpha] for name, alpha in initial.items()}
    shape = counted_shape(cfg)
    assert shape == (cfg.get('crop_size') or (512, 1024))
    calls = network_counter(model, shape).calls()
    convolved = sum(call.macs for call in calls if call.op != 'dynopool') / 1e9
    assert convolved == pytest.approx(count_network_gmacs(stock, shape), rel=1e-9)
    assert set(model.state_dict()) - set(stock.state_dict()) == {
        f'backbone.dynopools.{name}.alpha' for name in initial}
    cost = probe_complexity(model, shape, forward=forward_without_postprocessing)
    scales = LearnedScales(model)
    keeper = BudgetKeeper(scales, cost, 0.5 * cost.initial, smallest=2)
    assert keeper.reachable()[0] < 0.3 * cost.initial


def test_the_demos_rival():
    """The stock network at half of its cost, on images of aligned sizes."""
    configs = [ROOT / 'configs' / f'demo_{name}_mni152.py' for name in ('fixed', 'smaller')]
    stock, smaller = (MODELS.build(Config.fromfile(path).model) for path in configs)
    resize = smaller.backbone.dynopools['image']
    assert resize.output_size((160, 160)) == (112, 112)
    assert resize.output_size((192, 160)) == (136, 112)
    assert count_network_gmacs(smaller, (160, 160)) == pytest.approx(
        0.5 * count_network_gmacs(stock, (160, 160)), rel=0.01)
    assert not learned_pools(smaller)


CROP = dict(data_preprocessor=dict(size=(64, 96)))


@pytest.mark.parametrize('settings, shape', [
    (dict(model=dict()), None),
    (dict(model=CROP), (64, 96)),
    (dict(model=CROP, custom_hooks=None), (64, 96)),
    (dict(model=CROP, custom_hooks=[dict(type='DynOPoolHook', gmacs_weight=0.1)]), (64, 96)),
    (dict(model=CROP, custom_hooks=[
        dict(type='EMAHook'), dict(type='DynOPoolHook', gmacs_shape=[128, 256])]), (128, 256)),
    (dict(model=dict(CROP, gmacs_shape=(32, 48))), (32, 48)),  # as in version 0.3
])
def test_the_size_at_which_a_config_counts(settings, shape):
    assert counted_shape(Config(settings)) == shape
