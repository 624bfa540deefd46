"""Two processes, one training through the project's own launcher: what all ranks must agree on."""

import json
import os
import socket

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_dynopool.models import count_network_gmacs
from support.commands import process, scalars, tool
from support.forks import run_ranks
from support.toys import ROOT, write_cityscapes, write_project

RECORDER = '''
"""Writes what this rank computes in each iteration, numbers bit for bit."""
import json

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

from mmseg_dynopool.hooks import DynOPoolHook
from mmseg_dynopool.layers import DynOPool


@HOOKS.register_module()
class Recorder(Hook):
    priority = 'LOWEST'

    def before_train(self, runner):
        model = runner.model
        self.wrapper = type(model).__name__
        self.unused = getattr(model, 'find_unused_parameters', None)
        self.model = model.module if is_model_wrapper(model) else model
        self.pools = [m for m in self.model.modules() if isinstance(m, DynOPool)]
        self.sizes = []
        for pool in self.pools:
            pool.register_forward_hook(self.note_size)
        self.file = open(f'{runner.work_dir}/rank{get_rank()}.jsonl', 'w')

    def note_size(self, pool, args, output):
        self.sizes.append(list(output.shape[-2:]))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        learner = next(h for h in runner.hooks if isinstance(h, DynOPoolHook)).learner
        self.file.write(json.dumps(dict(
            wrapper=self.wrapper, unused=self.unused,
            images=sorted(s.img_path for s in data_batch['data_samples']),
            alphas=[a.hex() for pool in self.pools for a in pool.alpha.tolist()],
            sizes=self.sizes, loss=float(outputs['loss']),
            values=learner and [value.hex() for value in learner.values.tolist()],
            slopes=learner and str(learner.slopes.state_dict()),
            settled=learner and learner.settled)) + chr(10))
        self.file.flush()
        self.sizes.clear()
'''

SIZE = (80, 144)
# Group norm, since batch norm's statistics would be those of a rank's own images. Whole images,
# since a crop is random.
GROUP_NORM = dict(type='GN', num_groups=2, requires_grad=True)


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp('project')
    write_project(folder, write_cityscapes(folder / 'data', count=8, size=SIZE))
    (folder / 'recorder.py').write_text(RECORDER)
    return folder


def write_config(folder, name, batch_size, iterations, hook, hooks=(), wrapper=None, norm=None,
                 **model):
    """A config over the project's own, with options of `DynOPoolHook`.

    With lambda, a large lr of alpha, so that sizes change in few steps.
    """
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
                dict(type='PackSegInputs')]
    norms = dict(norm_cfg=norm) if norm else {}  # else the project's
    backbone = norms | model.pop('backbone', {})
    settings = dict(
        _base_='./my_dynopool_config.py',
        custom_imports=dict(imports=['mmseg_dynopool', 'recorder'], allow_failed_imports=False),
        custom_hooks=[dict(type='DynOPoolHook', jitter=0.1, **hook), *hooks, dict(type='Recorder')],
        train_dataloader=dict(batch_size=batch_size, dataset=dict(pipeline=pipeline)),
        train_cfg=dict(max_iters=iterations, val_interval=iterations),
        default_hooks=dict(checkpoint=dict(interval=iterations)),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
            **(dict(paramwise_cfg=dict(custom_keys=dict(
                dynopools=dict(lr_mult=400., decay_mult=0.)))) if 'gmacs_weight' in hook else {}),
            **wrapper or {}),
        model=dict(data_preprocessor=dict(size=SIZE), backbone=backbone,
                   decode_head=norms) | model)
    path = folder / f'{name}.py'
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in settings.items()))
    return path


@pytest.fixture
def recorder(project, monkeypatch):
    """For the processes and for this one."""
    monkeypatch.setenv('PYTHONPATH', f'{project}{os.pathsep}{os.environ.get("PYTHONPATH", "")}')
    monkeypatch.syspath_prepend(str(project))


def launch(folder, config, monkeypatch):
    """Train in two processes by the project's own launcher."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        monkeypatch.setenv('PORT', str(free.getsockname()[1]))
    process('bash', ROOT / 'tools' / 'dist_train.sh', config, 2, '--work-dir', config.stem,
            cwd=folder)


def in_two_processes(name, *args, cwd):
    """A tool as the launchers start it (see test_readme.py); returns what the first one prints."""
    ranks = run_ranks(ROOT / 'tools' / f'{name}.py', *args, cwd=cwd, ranks=2)
    for code, printed in ranks:
        assert code == 0, printed[-6000:]
    return ranks[0][1]


def results(work_dir, ranks):
    """What each rank recorded, and the last checkpoint."""
    records = [[json.loads(line) for line in (work_dir / f'rank{rank}.jsonl').open()]
               for rank in range(ranks)]
    last, = work_dir.glob('iter_*.pth')
    return *records, torch.load(last, weights_only=False)


def check_ranks_agree(first, second):
    """Equal alphas and sizes in every step, from different images; alphas and sizes move."""
    for a, b in zip(first, second, strict=True):
        assert set(a['images']).isdisjoint(b['images']) and a['loss'] != b['loss']
        for key in ('alphas', 'sizes', 'values', 'slopes', 'settled'):
            assert a[key] == b[key]
        assert a['wrapper'] == 'MMDistributedDataParallel' and a['unused'] is False
    assert len({tuple(a['alphas']) for a in first}) >= 3
    assert len({str(a['sizes']) for a in first}) >= 3


def test_ranks_agree_and_equal_one_process(project, recorder, monkeypatch):
    """Two ranks, two accumulated batches of one image each, with checkpointed activations.

    The reference is one process with batches of four. Only the order of float32 sums differs:
    the largest difference measured was 2.4e-7; the tolerance is four times that.
    """
    config = write_config(project, 'two', 1, 12, dict(gmacs_weight=8.0),
                          wrapper=dict(accumulative_counts=2), norm=GROUP_NORM,
                          backbone=dict(with_cp=True))
    launch(project, config, monkeypatch)
    first, second, two = results(project / 'two', ranks=2)
    check_ranks_agree(first, second)

    config = write_config(project, 'one', 4, 6, dict(gmacs_weight=8.0), norm=GROUP_NORM)
    tool('train', config, '--work-dir', 'one', cwd=project)
    single, one = results(project / 'one', ranks=1)
    assert [s['images'] for s in single] == [
        sorted(first[i]['images'] + second[i]['images'] + first[i + 1]['images'] +
               second[i + 1]['images']) for i in range(0, 12, 2)]
    for i, step in enumerate(single):
        losses = [r[j]['loss'] for r in (first, second) for j in (2 * i, 2 * i + 1)]
        assert step['loss'] == pytest.approx(sum(losses) / 4, rel=2e-6)
        assert step['sizes'] == first[2 * i]['sizes']
    assert one['state_dict'].keys() == two['state_dict'].keys()
    for name, value in one['state_dict'].items():
        torch.testing.assert_close(two['state_dict'][name], value, rtol=1e-6, atol=1e-6)
    moved = [abs(float.fromhex(a) - 2) for a in single[-1]['alphas']]
    assert max(moved) > 0.05
    # The gradients in the log, too: averaged over the ranks, summed over the accumulated batches.
    lines = {name: {row['step']: row for row in scalars(project / name) if 'loss' in row}
             for name in ('one', 'two')}
    for step in (2, 4, 6):  # two steps of the optimizer make a window
        for key in ('grad_mean_h', 'grad_std_h', 'grad_mean_w', 'grad_std_w'):
            pair = [lines[name][n * step][f'dynopool/stream1/{key}']
                    for n, name in ((1, 'one'), (2, 'two'))]
            assert pair[0] == pytest.approx(pair[1], rel=1e-4, abs=1e-6) and pair[0] != 0
    # Testing gives the last validation's mIoU, whatever the number of processes.
    validated = scalars(project / 'two')[-1]
    arguments = project / 'two.py', 'two/iter_12.pth'
    options = '--work-dir', 'tested'
    in_two = in_two_processes('test', *arguments, *options, cwd=project)
    in_one = tool('test', *arguments, *options, cwd=project)
    for printed in (in_two, in_one):
        assert f"mIoU: {validated['mIoU']:.4f}" in printed


def test_ranks_agree_on_the_budget(project, recorder):
    """In mixed precision, with averages of weights and buffers and a validation at the end."""
    hooks = [dict(type='EMAHook', ema_type='StochasticWeightAverage', update_buffers=True)]
    shape = (160, 288)
    config = write_config(project, 'budget', 2, 14, dict(
        gmacs_budget=dict(target=0.6), gmacs_shape=shape), hooks,
        backbone=dict(dynopool=dict(image=True)))
    in_two_processes('train', config, '--work-dir', 'budget', '--amp', cwd=project)
    first, second, saved = results(project / 'budget', ranks=2)
    check_ranks_agree(first, second)
    assert len({a['slopes'] for a in first}) >= 6  # measured in every second step
    assert [a['settled'] for a in first] == [False] * 11 + [True] * 3
    settled = {tuple(a['alphas']) for a in first[11:]}
    assert len(settled) == 1
    lines = [line for line in scalars(project / 'budget') if 'gmacs_plan' in line]
    assert [line['gmacs_ratio'] for line in lines[:12]] == pytest.approx(
        [line['gmacs_plan'] for line in lines[:12]], rel=1e-4)
    init_default_scope('mmseg')
    model = MODELS.build(Config.fromfile(config).model)
    start = count_network_gmacs(model, shape)
    for key, prefix in (('state_dict', ''), ('ema_state_dict', 'module.')):
        state = {k.removeprefix(prefix): v for k, v in saved[key].items() if k != 'steps'}
        model.load_state_dict(state)
        alphas = [p.alpha for p in model.backbone.dynopools.values()]
        assert tuple(a.hex() for alpha in alphas for a in alpha.tolist()) in settled
    kept = torch.tensor(saved['dynopool']['learner']['keeper']['settled'], dtype=torch.float64)
    assert tuple(a.hex() for a in kept.exp().float().tolist()) in settled
    assert count_network_gmacs(model, shape) / start == pytest.approx(0.6, rel=0.02)
