"""What a run resumes from, and what makes it exact."""

import os

import pytest
import torch
from mmengine import hooks
from mmengine.config import Config
from mmengine.dataset import DefaultSampler

from mmseg_dynopool.checkpoints import Checkpoint
from mmseg_dynopool.resume.exact_resume import IterationSeedHook, make_resumable
from mmseg_dynopool.resume.latest import latest_checkpoint, resume_from_latest
from support.toy_runs import Toy, run


def config(folder, **settings):
    return Config(dict(work_dir=str(folder / 'run'), **settings))


def checkpoints(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        torch.save(dict(meta=dict(iter=i, seed=41), optimizer={},
                        state_dict=dict(w=torch.ones(1))), folder / name)
        os.utime(folder / name, (1000 - i, 1000 - i))


@pytest.mark.parametrize('note', ['', 'elsewhere/iter_9.pth', None])
def test_without_a_good_note_the_highest_number_counts(tmp_path, note):
    checkpoints(tmp_path, 'iter_8.pth', 'iter_10.pth', 'iter_9.pth', 'best_mIoU_iter_99.pth')
    if note is not None:
        (tmp_path / 'last_checkpoint').write_text(note)
    best = 'iter_9.pth' if note else 'iter_10.pth'  # a moved folder: the note's name holds
    assert latest_checkpoint(tmp_path) == str(tmp_path / best)


def test_the_runs_own_checkpoint_comes_before_load_from(tmp_path):
    """A fine-tuning run that was killed goes on, it does not start from its start again."""
    checkpoints(tmp_path / 'run', 'iter_4.pth')
    cfg = config(tmp_path, load_from='pretrained.pth')
    resume_from_latest(cfg)
    assert cfg.resume and cfg.load_from == str(tmp_path / 'run' / 'iter_4.pth')
    assert cfg.randomness.seed == 41  # of the killed run
    cfg = config(tmp_path, load_from='pretrained.pth', randomness=dict(seed=3))
    resume_from_latest(cfg)
    assert cfg.randomness.seed == 3


def test_a_first_start_with_resume_takes_the_weights_alone(tmp_path):
    cfg = config(tmp_path, load_from='pretrained.pth')
    resume_from_latest(cfg)
    assert not cfg.resume and cfg.load_from == 'pretrained.pth'


def test_checkpoints_in_another_folder_are_found(tmp_path):
    checkpoints(tmp_path / 'store' / 'run', 'iter_4.pth')
    cfg = config(tmp_path, default_hooks=dict(checkpoint=dict(
        type='CheckpointHook', out_dir=str(tmp_path / 'store'))))
    resume_from_latest(cfg)
    assert cfg.load_from == str(tmp_path / 'store' / 'run' / 'iter_4.pth')


def test_weights_alone_are_no_training_to_resume(tmp_path):
    model = Toy()
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'weights.pth')
    Checkpoint.read(str(tmp_path / 'weights.pth')).verify(model)
    with pytest.raises(ValueError, match='weights alone'):
        Checkpoint.read(str(tmp_path / 'weights.pth')).verify(model, resume=True)


@pytest.mark.parametrize('hooks, expected', [
    (None, dict(type='SafeCheckpointHook', interval=1)),
    (dict(logger=dict(type='LoggerHook')), dict(type='SafeCheckpointHook', interval=1)),
    (dict(checkpoint=dict(type='CheckpointHook', interval=7)),
     dict(type='SafeCheckpointHook', interval=7)),
    (dict(checkpoint=dict(type='mmengine.CheckpointHook')), dict(type='SafeCheckpointHook')),
    (dict(checkpoint=dict(type='MyHook')), dict(type='MyHook')),
    (dict(checkpoint=None), None)])
def test_checkpoint_hooks_become_safe_ones(tmp_path, hooks, expected):
    loader = dict(sampler=dict(type='DefaultSampler'), dataset=dict(type='CityscapesDataset'))
    cfg = config(tmp_path, default_hooks=hooks, train_dataloader=loader)
    once = make_resumable(cfg).pretty_text
    assert cfg.default_hooks.checkpoint == expected
    assert cfg.train_dataloader.sampler == dict(type='SeededSampler', sampler=loader['sampler'])
    assert cfg.train_dataloader.dataset == dict(type='SeededDataset', dataset=loader['dataset'])
    assert make_resumable(cfg).pretty_text == once


def warnings_of(folder, counts, by_epoch=False, **checkpoint):
    hooks = dict(checkpoint=dict(dict(type='SafeCheckpointHook', by_epoch=by_epoch), **checkpoint))
    run(folder, Toy(pull=0.01), iterations=4, default_hooks=hooks, accumulative_counts=counts,
        hooks=[dict(type='DynOPoolHook'), dict(type='IterationSeedHook')])
    return next(folder.glob('*/*.log')).read_text()


def test_checkpoints_between_accumulated_gradients_are_warned_of(tmp_path):
    log = warnings_of(tmp_path / 'a', 2, interval=3)
    assert 'checkpoint: checkpoints every 3 iterations fall between' in log
    assert 'random augmentation will not repeat' in log
    log = warnings_of(tmp_path / 'b', 2, interval=4)
    assert 'fall between' not in log and 'may leave no whole' not in log
    log = warnings_of(tmp_path / 'c', 3, by_epoch=True, interval=1)  # an epoch has 2 iterations
    assert 'every 2 iterations fall between' in log
    log = warnings_of(tmp_path / 'd', 1, type='CheckpointHook', interval=4)
    assert 'a kill while CheckpointHook writes may leave no whole checkpoint' in log


class CheckpointHook(hooks.CheckpointHook):
    """A user's own, of mmengine's name."""


def test_only_what_is_mmengines_own_is_replaced():
    """Classes in the place of names, and names of other packages."""
    cfg = make_resumable(Config(dict(
        train_dataloader=dict(sampler=dict(type=DefaultSampler), dataset=dict(type=list)),
        default_hooks=dict(checkpoint=dict(type=CheckpointHook)))))
    assert cfg.default_hooks.checkpoint.type is CheckpointHook
    assert cfg.train_dataloader.sampler == dict(
        type='SeededSampler', sampler=dict(type=DefaultSampler))
    assert make_resumable(cfg).train_dataloader.sampler.sampler == dict(type=DefaultSampler)
    for kind in (hooks.CheckpointHook, 'mmengine.CheckpointHook', 'mmengine.hooks.CheckpointHook'):
        cfg = make_resumable(Config(dict(default_hooks=dict(checkpoint=dict(type=kind)))))
        assert cfg.default_hooks.checkpoint.type == 'SafeCheckpointHook'
    own = IterationSeedHook()
    assert make_resumable(Config(dict(custom_hooks=[own]))).custom_hooks == [own]
