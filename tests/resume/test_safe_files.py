"""Files and checkpoints that are whole whenever the process dies."""

import os
import signal

import pytest
import torch
from mmengine.fileio import get_file_backend

from mmseg_dynopool.files import write_file
from mmseg_dynopool.resume.checkpoint_hook import AtomicFileBackend
from mmseg_dynopool.resume.latest import latest_checkpoint
from support.commands import tool
from support.toy_runs import Toy, run
from support.toys import write_project


def write_and_die(path, step):
    """Replace a file in a process that dies at its first call of ``os.STEP``; its exit code."""
    child = os.fork()
    if child == 0:
        try:
            setattr(os, step, lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL))
            write_file(path, b'new' * 100_000)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize('step', ['fsync', 'replace'])
def test_a_kill_while_writing_leaves_the_old_file(tmp_path, step):
    path = tmp_path / 'iter_2.pth'
    path.write_bytes(b'old')
    assert write_and_die(path, step) == -signal.SIGKILL
    assert path.read_bytes() == b'old'
    leftovers = [p.name for p in tmp_path.iterdir() if p != path]
    assert all(name.startswith('.iter_2.pth.') for name in leftovers) and leftovers


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / 'iter_2.pth'
    write_file(path, b'old')

    def full(handle):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match=r'cannot write .*iter_2.pth: No space left.*free space'):
        write_file(path, b'new')
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_the_backend_is_registered_and_keeps_the_usual_permissions(tmp_path):
    backend = get_file_backend(backend_args=dict(backend='mmseg_dynopool.whole_file'))
    assert isinstance(backend, AtomicFileBackend)
    mask = os.umask(0o027)
    try:
        backend.put_text('text', tmp_path / 'sub' / 'note')
    finally:
        os.umask(mask)
    assert (tmp_path / 'sub' / 'note').read_text() == 'text'
    assert (tmp_path / 'sub' / 'note').stat().st_mode & 0o777 == 0o640


def train(folder, model=None, **checkpoint):
    hooks = dict(logger=dict(type='LoggerHook', interval=1), checkpoint=dict(
        type='SafeCheckpointHook', by_epoch=False, interval=1, **checkpoint))
    return run(folder, model or Toy(pull=0.01), iterations=4, default_hooks=hooks)


def test_the_newest_checkpoints_are_kept(tmp_path):
    train(tmp_path, max_keep_ckpts=2)
    assert sorted(p.name for p in tmp_path.glob('*.pth')) == ['iter_3.pth', 'iter_4.pth']
    saved = torch.load(tmp_path / 'iter_4.pth', weights_only=False)
    assert saved['message_hub']['runtime_info']['keep_ckpt_ids'] == [3, 4]


def test_the_last_checkpoint_stays_until_the_next_is_there(tmp_path, monkeypatch):
    """A disk that fills up at the third checkpoint, with max_keep_ckpts=1."""
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == 5:  # two files each time: the checkpoint and the note of its name
            raise OSError(28, 'No space left on device')
        fsync(handle)

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match=r'cannot write .*iter_3.pth: No space left'):
        train(tmp_path, max_keep_ckpts=1)
    assert [p.name for p in tmp_path.glob('*.pth')] == ['iter_2.pth']
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'iter_2.pth')
    assert torch.load(tmp_path / 'iter_2.pth', weights_only=False)['meta']['iter'] == 2


@pytest.mark.parametrize('keys', ['a', ['a', 'b']])
def test_the_best_checkpoint_stays_until_the_next_is_there(tmp_path, monkeypatch, keys):
    runner = train(tmp_path, save_best=keys, rule='greater')
    hook = next(h for h in runner.hooks if type(h).__name__ == 'SafeCheckpointHook')

    def best():
        return sorted(p.name for p in tmp_path.glob('best_*'))

    hook._save_best_checkpoint(runner, dict(a=1.0, b=1.0))
    runner.train_loop._iter = 5
    hook._save_best_checkpoint(runner, dict(a=0.5, b=2.0))
    assert best() == (['best_a_iter_4.pth'] if keys == 'a' else
                      ['best_a_iter_4.pth', 'best_b_iter_5.pth'])

    def full(handle):
        raise OSError(28, 'No space left on device')

    runner.train_loop._iter = 6
    before = best()
    with monkeypatch.context() as patch, pytest.raises(OSError, match='No space'):
        patch.setattr(os, 'fsync', full)
        hook._save_best_checkpoint(runner, dict(a=3.0, b=3.0))
    assert best() == before


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / '.iter_2.pth.part').write_bytes(b'half')
    train(tmp_path)
    assert list(tmp_path.glob('.iter*')) == []


def test_tools_train_saves_through_this_hook(cityscapes, tmp_path, monkeypatch):
    """A run of the command line with mmengine's own hook in its config, on a disk that is full."""
    write_project(tmp_path, cityscapes)
    options = ('--work-dir', 'run', '--cfg-options', 'default_hooks.checkpoint.interval=1',
               'default_hooks.checkpoint.max_keep_ckpts=1')
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == 5:
            raise OSError(28, 'No space left on device')
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', full)
        printed = tool('train', 'my_dynopool_config.py', *options, cwd=tmp_path, ok=False)
    assert 'iter_3.pth: No space left' in printed
    assert [p.name for p in (tmp_path / 'run').glob('*.pth')] == ['iter_2.pth']
    printed = tool('train', 'my_dynopool_config.py', '--resume', *options, cwd=tmp_path)
    assert 'resumed epoch: 0, iter: 2' in printed
    assert [p.name for p in (tmp_path / 'run').glob('*.pth')] == ['iter_3.pth']
