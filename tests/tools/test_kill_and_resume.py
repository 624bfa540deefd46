"""Killed with SIGKILL and resumed, a run ends as if nothing had happened, bit for bit."""

import os
import signal
from pathlib import Path

import torch

from mmseg_dynopool.resume.latest import checkpoint_differences, latest_checkpoint
from support.forks import run_script
from support.toys import ROOT, write_project

# All that draws random numbers or keeps a state: augmentation in workers, dropout, moving
# averages, the scales' learner. Checkpoints every two iterations, one is kept.
CONFIG = """
_base_ = './my_dynopool_config.py'
custom_imports = dict(imports=['mmseg_dynopool', 'killer'], allow_failed_imports=False)
model = dict(backbone=dict(dynopool=dict(stem=True)), decode_head=dict(dropout_ratio=0.3))
train_dataloader = dict(
    num_workers=2, persistent_workers=True,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
        dict(type='RandomCrop', crop_size=(64, 64)), dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'), dict(type='PackSegInputs')]))
train_cfg = dict(max_iters=8, val_interval=4)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0., begin=0, end=8, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=1, save_best='mIoU'))
budget = dict(target=0.97, begin=0., reach=0.3, settle=0.8)
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=budget, jitter=0.1),
                dict(type='EMAHook', momentum=0.2), dict(type='KillerHook')]
randomness = dict(seed=3)
"""
KILLER = """
import os, signal
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class KillerHook(Hook):
    '''Ends the process as kill -9 does, in the middle of an iteration or of a checkpoint.'''

    priority = 'LOWEST'

    def after_train_iter(self, runner, *args, **kwargs):
        self.strike(f'iter {runner.iter + 1}')

    def before_save_checkpoint(self, runner, checkpoint):
        if os.environ.get('KILL_AT') == f'save {runner.iter + 1}':
            os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)

    def strike(self, moment):
        if os.environ.get('KILL_AT') == moment:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def train(folder, work_dir, kill_at='') -> tuple[int, str]:
    """In a process of its own, also where nothing kills it: one that goes on would wait for the
    processes of the loaders, five seconds for each."""
    return run_script(
        ROOT / 'tools' / 'train.py', 'soak.py', '--work-dir', work_dir, '--resume', cwd=folder,
        KILL_AT=kill_at, PYTHONPATH=f'{folder}{os.pathsep}{os.environ.get("PYTHONPATH", "")}')


def train_and_die(folder, work_dir, kill_at):
    code, printed = train(folder, work_dir, kill_at)
    assert code == -signal.SIGKILL, printed[-5000:]


def train_to_the_end(folder, work_dir):
    code, printed = train(folder, work_dir)
    assert code == 0, printed[-5000:]
    return printed


def test_kills_leave_no_trace(cityscapes, tmp_path):
    write_project(tmp_path, cityscapes)
    (tmp_path / 'soak.py').write_text(CONFIG)
    (tmp_path / 'killer.py').write_text(KILLER)
    log = train_to_the_end(tmp_path, 'whole')
    assert 'nothing to resume' in log and 'Iter(train) [8/8]' in log
    train_and_die(tmp_path, 'killed', 'iter 3')
    assert Path(latest_checkpoint(tmp_path / 'killed')).name == 'iter_2.pth'
    # While iter_6.pth is written: iter_4.pth must still be there.
    train_and_die(tmp_path, 'killed', 'save 6')
    assert sorted(p.name for p in (tmp_path / 'killed').glob('iter*.pth')) == ['iter_4.pth']
    log = train_to_the_end(tmp_path, 'killed')
    assert 'resumed epoch: 0, iter: 4' in log
    ends = [latest_checkpoint(tmp_path / name) for name in ('whole', 'killed')]
    assert [Path(end).name for end in ends] == ['iter_8.pth'] * 2
    assert checkpoint_differences(*ends) == []
    assert list((tmp_path / 'killed').glob('.iter*')) == []
    saved = torch.load(ends[0], weights_only=False)
    assert saved['dynopool']['learner']['keeper']['settled'] is not None
    assert saved['dynopool']['learner']['done'] == 8 and 'ema_state_dict' in saved
    assert saved['message_hub']['runtime_info']['best_score'] == torch.load(
        ends[1], weights_only=False)['message_hub']['runtime_info']['best_score']


def test_a_difference_is_found(tmp_path):
    """The comparison of this file can fail: one bit, one counter, one lr."""
    state = dict(
        meta=dict(epoch=0, iter=8, seed=1), state_dict=dict(w=torch.tensor([1.0, float('nan')])),
        optimizer=dict(param_groups=[dict(lr=0.1)]), message_hub=dict(time=1))
    other = dict(state, message_hub=dict(time=2))
    paths = [tmp_path / name for name in ('a.pth', 'b.pth')]

    def compare(a, b):
        for path, content in zip(paths, (a, b)):
            torch.save(content, path)
        return checkpoint_differences(*paths)

    assert compare(state, other) == []
    weights = dict(w=torch.tensor([1.0 + 2**-23, float('nan')]))
    assert compare(state, dict(other, state_dict=weights)) == ['state_dict.w']
    assert compare(state, dict(other, meta=dict(state['meta'], iter=6))) == ['meta.iter']
    groups = dict(param_groups=[dict(lr=0.2)])
    assert compare(state, dict(other, optimizer=groups)) == ['optimizer.param_groups.0.lr']
    assert compare(state, dict(other, ema_state_dict={})) == ['ema_state_dict (only in one)']
