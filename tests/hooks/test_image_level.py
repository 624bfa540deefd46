"""Trainings in which the image's own size is the first level."""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmseg.registry import MODELS

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.export import freeze_checkpoint
from mmseg_dynopool.layers import FixedImageResize
from mmseg_dynopool.models import count_network_gmacs
from mmseg_dynopool.resume.latest import checkpoint_differences
from support.runs import Watch, alphas_of, segmentor, train
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


def test_beside_it_shape_adaptors_are_measured(tmp_path):
    """Their one number follows the plan as the image's does; the optimizer has no part in it."""
    cfg = small(type='ShapeAdaptor')
    runner = train(tmp_path, cfg, iterations=16, hook=dict(
        gmacs_budget=dict(target=0.6), gmacs_shape=WIDE, every=1))
    start = count_network_gmacs(MODELS.build(cfg), WIDE)
    assert count_network_gmacs(runner.model, WIDE) / start == pytest.approx(0.6, rel=0.02)
    learner = next(h.learner for h in runner.hooks if isinstance(h, DynOPoolHook))
    assert learner.scales.size == 2 and learner.slopes.turn == 13  # until the scales settle
    image, stream = (pool.scale for pool in runner.model.backbone.dynopools.values())
    assert image[0] == image[1] < 0.95 and stream[0] == stream[1] < 0.499
    assert [image[0].item(), stream[0].item()] == pytest.approx(
        [math.exp(-v) for v in learner.values], rel=1e-5)
    logged = runner.message_hub.log_scalars
    assert logged['train/dynopool/image/scale_w'].current() == pytest.approx(image[0].item())


class Averages(Watch):
    """Notes the averaged alphas, too."""

    def __init__(self):
        super().__init__()
        self.averages = []

    def after_train_iter(self, runner, *args, **kwargs):
        super().after_train_iter(runner, *args, **kwargs)
        ema, = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
        self.averages.append(alphas_of(ema.ema_model))


def test_averaged_accumulated_in_mixed_precision_and_resumed(tmp_path):
    """Averages of weights and buffers meet the budget, too; a resumed run ends with the same bits.

    Eight steps of the optimizer, of two batches each; the scales settle in the seventh.
    """
    ema = dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.2,
               update_buffers=True)
    options = dict(iterations=16, alpha_lr=None, accumulative_counts=2, type='CPUAmpOptimWrapper',
                   hook=dict(gmacs_budget=dict(target=0.6), gmacs_shape=WIDE))
    watch = Averages()
    train(tmp_path / 'whole', small(), hooks=[ema, watch], save_every=6, **options)
    train(tmp_path / 'resumed', small(), hooks=[ema], save_every=6,
          resume=tmp_path / 'whole' / 'iter_6.pth', **options)
    assert checkpoint_differences(*(tmp_path / name / 'iter_16.pth'
                                    for name in ('whole', 'resumed'))) == []

    average = watch.alphas[0]
    for n in range(1, 13):
        average = 0.8 * average + 0.2 * watch.alphas[n]
        torch.testing.assert_close(watch.averages[n], average)
        assert n % 2 or torch.equal(watch.alphas[n], watch.alphas[n - 1])
    assert not torch.equal(watch.averages[12], watch.alphas[12])
    assert torch.equal(watch.averages[13], watch.alphas[13])
    averaged = MODELS.build(small())
    start = count_network_gmacs(averaged, WIDE)
    saved = torch.load(tmp_path / 'whole' / 'iter_16.pth', weights_only=False)
    averaged.load_state_dict(saved['state_dict'])
    assert count_network_gmacs(averaged, WIDE) / start == pytest.approx(0.6, rel=0.02)


def test_a_run_begins_from_one_without_the_level(tmp_path):
    plain = segmentor('BN', TWO_STREAMS, ONE_STAGE)
    plain.backbone.dynopool = dict(scale=0.4)
    train(tmp_path / 'plain', plain, iterations=1, hook=False)
    runner = train(tmp_path / 'image', small(), iterations=1, alpha_lr=None, lr=0.,
                   load_from=tmp_path / 'plain' / 'iter_1.pth', hook=dict(
                       gmacs_weight=0., gradient='learner', travel=0.))
    saved = torch.load(tmp_path / 'plain' / 'iter_1.pth', weights_only=False)['state_dict']
    saved['backbone.dynopools.image.alpha'] = torch.ones(2)
    for name, parameter in runner.model.named_parameters():
        torch.testing.assert_close(parameter.detach(), saved[name], msg=name)


def test_frozen_weights_that_read_the_image_keep_its_scale(tmp_path):
    cfg = small()
    cfg.backbone.frozen_stages = 0
    with pytest.warns(UserWarning, match="the image's scale does not learn"):
        runner = train(tmp_path, cfg, iterations=4, alpha_lr=None,
                       hook=dict(gmacs_weight=100., gradient='learner', every=1))
    alphas = {n: p.alpha.tolist() for n, p in runner.model.backbone.dynopools.items()}
    assert alphas['image'] == [1.0, 1.0] and alphas['stream1'] != [2.0, 2.0]


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
