"""What a run keeps at its end, beside its budget."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import MODELS

from mmseg_dynopool import DynOPoolEncoderDecoder
from mmseg_dynopool.checkpoints import Checkpoint, load_network
from mmseg_dynopool.export import freeze_checkpoint
from mmseg_dynopool.export.budget_outcome import budget_outcome
from mmseg_dynopool.layers import freeze_pools
from mmseg_dynopool.models import count_network_gmacs
from support.runs import small_segmentor, train

WIDE = (256, 384)  # sizes whose rounding allows a fine cost
HOOK = dict(gmacs_budget=dict(target=0.8), gmacs_shape=WIDE)


class EndAt(Hook):
    """Early stopping in its simplest form."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        runner.train_loop.stop_training = runner.iter + 1 == self.iteration


class Freeze(Hook):
    """Takes the scales out of the training's hands, while the plan is on its way."""

    def __init__(self, how):
        self.how = how

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        pools = runner.model.backbone.dynopools
        for name in pools if runner.iter == 4 else ():
            pools[name] = self.how(pools[name])


def run(tmp_path, *hooks, save_best=True, **options):
    """20 iterations, a validation every 2; all score alike, so that the first one is the best."""
    best = [CheckpointHook(interval=-1, by_epoch=False, save_best='images', rule='greater',
                           save_last=False)] if save_best else []
    return train(tmp_path, small_segmentor(), iterations=20, alpha_lr=None, hook=HOOK | options,
                 hooks=[*best, *hooks], val_interval=2 if save_best else None)


def warnings_of(tmp_path):
    log, = tmp_path.glob('*/*.log')
    return [line for line in log.read_text().splitlines() if 'budget is missed' in line
            or 'misses the budget' in line]


def outcome(path):
    """Of a checkpoint by `budget_outcome`, as ratios, and the cost counted by hand."""
    cfg = Config(dict(model=small_segmentor(), custom_hooks=[dict(type='DynOPoolHook', **HOOK)]))
    checkpoint = Checkpoint.read(path)
    model = load_network(cfg, checkpoint)
    found = budget_outcome(cfg, model, checkpoint)
    assert found.cost == pytest.approx(count_network_gmacs(model, WIDE))
    assert found.initial == pytest.approx(count_network_gmacs(load_network(cfg, None), WIDE))
    assert found.wanted / found.initial == pytest.approx(0.8)
    return found.cost / found.initial, found.is_met


def test_the_best_checkpoint_is_one_of_the_settled_network(tmp_path):
    run(tmp_path)
    path, = tmp_path.glob('best_images_*.pth')
    assert path.name == 'best_images_iter_18.pth'  # settled at 17
    ratio, is_met = outcome(path)
    assert ratio == pytest.approx(0.8, rel=0.005) and is_met
    assert not warnings_of(tmp_path)


def test_a_best_checkpoint_from_before_is_told_at_the_end_and_when_it_is_frozen(tmp_path):
    run(tmp_path, best_when_settled=False)
    path, = tmp_path.glob('best_images_*.pth')
    assert path.name == 'best_images_iter_2.pth'  # where the plan begins
    ratio, is_met = outcome(path)
    assert ratio == pytest.approx(1.0, rel=0.02) and not is_met
    line, = warnings_of(tmp_path)
    assert f'{path} was saved before the scales had settled' in line
    assert f"({ratio:.3f} of the cost at the config's initial scales)" in line
    assert '(0.800 of the cost' in line and 'best_when_settled=True' in line
    cfg = Config(dict(model=small_segmentor(), custom_hooks=[dict(type='DynOPoolHook', **HOOK)]))
    with pytest.warns(UserWarning, match='the budget is missed: .*0.800 of .*had settled'):
        freeze_checkpoint(cfg, str(path), tmp_path / 'frozen')


def test_a_training_that_ends_early(tmp_path):
    runner = run(tmp_path, EndAt(6), save_best=False)
    assert runner.iter == 6
    line, = warnings_of(tmp_path)
    assert 'The training ended at 30%, and the scales settle at 85% of it' in line
    assert '(0.800 of the cost' in line  # wanted
    early = tmp_path / 'early'
    runner = run(early, EndAt(4), gmacs_budget=dict(target=0.8, begin=0., reach=0.1, settle=0.15))
    path, = early.glob('best_images_*.pth')
    assert outcome(path) == (pytest.approx(0.8, rel=0.005), True) and not warnings_of(early)


@pytest.mark.parametrize('how, missed', [
    (lambda pool: pool.freeze(), True), (lambda pool: pool.requires_grad_(False), False)])
def test_a_hook_that_fixes_the_scales(tmp_path, how, missed):
    """A pooling that was replaced stays where it was; a learner sets those that are the model's."""
    run(tmp_path, Freeze(how), save_best=False)
    lines = warnings_of(tmp_path)
    assert len(lines) == missed
    if missed:
        assert 'something else has changed or replaced DynOPools' in lines[0]


def test_fine_tuning_keeps_to_the_configs_scales(tmp_path):
    """A network that was trained to 0.8 and goes on with 0.8 costs what it did."""
    run(tmp_path / 'first', save_best=False)
    first = str(tmp_path / 'first' / 'iter_20.pth')
    seen, said = [], []

    class Watch(Hook):

        def before_run(self, runner):
            runner.logger.info = lambda text, *_: said.append(str(text))

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            seen.append(outputs['gmacs_ratio'].item())

    train(tmp_path / 'second', small_segmentor(), iterations=6, alpha_lr=None, hook=HOOK,
          load_from=first, hooks=[Watch()])
    assert seen[0] == pytest.approx(0.8, rel=0.02)  # sizes not rounded
    assert any(f'the run begins at {seen[0]:.3f} of the cost' in line for line in said)
    assert outcome(tmp_path / 'second' / 'iter_6.pth')[0] == pytest.approx(0.8, rel=0.005)


class Remembers(DynOPoolEncoderDecoder):
    """Keeps its last losses and features, with their graph, which cannot be copied."""

    def extract_feat(self, inputs):
        self.features = super().extract_feat(inputs)
        return self.features

    def loss(self, inputs, data_samples):
        self.losses = dict(last=[super().loss(inputs, data_samples)])
        return dict(self.losses['last'][0])


def test_a_network_that_remembers_its_last_step_settles_and_freezes(tmp_path):
    MODELS.register_module(module=Remembers, force=True)
    try:
        model = MODELS.build(small_segmentor(type='Remembers'))
        train(tmp_path, model, iterations=8, alpha_lr=None, hook=HOOK)
    finally:
        MODELS.module_dict.pop('Remembers')
    assert all(features.grad_fn is not None for features in model.features)
    assert outcome(tmp_path / 'iter_8.pth') == (pytest.approx(0.8, rel=0.005), True)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(freeze_pools(model.eval())(image), model(image))
