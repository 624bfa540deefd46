"""Trainings in which the image's own size is the first level."""

import math

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.export import freeze_checkpoint
from mmseg_dynopool.layers import FixedImageResize
from mmseg_dynopool.models import count_network_gmacs
from support.runs import segmentor, train
from support.toys import ONE_STAGE, TWO_STREAMS, converted_config

WIDE = (256, 384)


def small(**options):
    cfg = segmentor('BN', TWO_STREAMS, ONE_STAGE)
    cfg.backbone.dynopool = dict(image=True, **options)
    return cfg


def test_a_budget_shrinks_the_image_and_the_frozen_network_is_the_trained_one(tmp_path):
    hook = dict(gmacs_budget=dict(target=0.5), gmacs_shape=WIDE)
    runner = train(tmp_path, small(), iterations=20, alpha_lr=None, hook=hook)
    start = count_network_gmacs(MODELS.build(small()), WIDE)
    assert count_network_gmacs(runner.model, WIDE) / start == pytest.approx(0.5, rel=0.01)
    scale = runner.model.backbone.dynopools['image'].scale
    assert (scale < 0.95).all() and (scale > 0.4).all()
    cfg = Config(dict(model=small(), custom_hooks=[dict(type='DynOPoolHook', **hook)]))
    scales = freeze_checkpoint(cfg, str(tmp_path / 'iter_20.pth'), tmp_path / 'frozen')
    assert scales['image'] == pytest.approx(scale.tolist())
    frozen = load_network(Config.fromfile(tmp_path / 'frozen' / 'config.py'),
                          str(tmp_path / 'frozen' / 'weights.safetensors'))
    assert isinstance(frozen.backbone.dynopools['image'], FixedImageResize)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(frozen(image), runner.model.eval()(image))


def test_without_a_budget_the_image_does_not_grow(tmp_path):
    """With one it may: the plan makes other scales pay for it."""
    for options, high in ((dict(gmacs_weight=0., gradient='learner'), 1.0),
                          (dict(gmacs_budget=dict(target=0.9)), 4.0)):
        runner = train(tmp_path / str(high), small(), iterations=2, alpha_lr=None, hook=options)
        learner = next(h.learner for h in runner.hooks if isinstance(h, DynOPoolHook))
        part = learner.scales.parts['backbone.dynopools.image']
        assert (-learner.limits.low[part]).tolist() == pytest.approx([math.log(high)] * 2)
        assert learner.limits.high[part].tolist() == pytest.approx([math.log(4)] * 2)


def test_a_converted_network_with_the_image_level(tmp_path):
    cfg = Config(dict(model=converted_config('ResNet'))).model
    cfg.dynopool = dict(rule='before', image=True)
    hook = dict(gmacs_budget=dict(target=0.6), gmacs_shape=WIDE)
    runner = train(tmp_path, cfg, iterations=12, alpha_lr=None, hook=hook)
    start = count_network_gmacs(MODELS.build(cfg), WIDE)
    assert count_network_gmacs(runner.model, WIDE) / start == pytest.approx(0.6, rel=0.02)
    assert next(iter(runner.model.backbone.dynopools)) == 'image'


def test_where_aligned_sizes_leave_the_budget_out_of_reach_the_log_says_so(tmp_path):
    """An image of 64 x 96 in steps of 32 costs 1, .67, .5, .33 or .17 of it, inner levels fixed."""
    cfg = small(multiple=32, learn=dict(stream1=False))
    hook = dict(gmacs_budget=dict(target=0.57), gmacs_shape=(64, 96))
    train(tmp_path, cfg, iterations=8, alpha_lr=None, hook=hook)
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert "make the image's `multiple` smaller, or choose another target" in log
    assert log.count('the budget is missed: the network costs') == 1
    assert 'something else has changed' not in log


def test_the_papers_way_has_no_gradient_for_it(tmp_path):
    with pytest.raises(ValueError, match="the image's scale learns by measured losses alone"):
        train(tmp_path, small(), hook=dict(gmacs_weight=7e-5))
    train(tmp_path, small(learn=dict(image=False)), iterations=2, hook=dict(gmacs_weight=7e-5))


@pytest.mark.parametrize('options, words', [
    (dict(image=True, stem=True), 'stem=True and image=True would resize the image twice'),
    (dict(image='yes'), "image must be True or False, got 'yes'"),
    (dict(image=True, bounds=dict(image=(0.1, 0.5))), 'options of image: .* must hold 1'),
    (dict(scale=dict(image=0.5)), r"scale names unknown instances \['image'\]"),
    (dict(image=True, multiple=0), 'multiple must be a whole number of pixels >= 1')])
def test_bad_options(options, words):
    cfg = small()
    cfg.backbone.dynopool = options
    with pytest.raises(ValueError, match=words):
        MODELS.build(cfg)
