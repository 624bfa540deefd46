"""Checkpoints that are whole, whenever the process dies."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.fileio.backends import register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmseg_dynopool.files import write_file

_BACKEND = 'mmseg_dynopool.whole_file'


class AtomicFileBackend(LocalBackend):
    """mmengine's local files, written by `write_file`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes."""
        write_file(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text."""
        write_file(filepath, obj.encode(encoding))


register_backend(_BACKEND, AtomicFileBackend)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, safe against a kill or a full disk at any moment.

    - A checkpoint, and the note ``last_checkpoint``, appear under their names when complete.
    - With ``max_keep_ckpts`` the oldest goes after the new one is there; mmengine removes it
      first, and a kill in between would leave none. So does the best one (``save_best``).

    Args:
        *args: those of mmengine's `CheckpointHook`.
        **kwargs: likewise, by name.

    Examples:
        >>> from mmseg.registry import HOOKS
        >>> import mmseg_dynopool
        >>> default_hooks = dict(checkpoint=dict(
        ...     type='SafeCheckpointHook', by_epoch=False, interval=1000, max_keep_ckpts=2))
        >>> hook = HOOKS.build(default_hooks['checkpoint'])
        >>> hook.interval, hook.backend_args
        (1000, {'backend': 'mmseg_dynopool.whole_file'})
    """

    file_backend: LocalBackend

    def __init__(self, *args: Any, **kwargs: Any):
        if kwargs.get('backend_args') is None and '://' not in str(kwargs.get('out_dir')):
            kwargs['backend_args'] = dict(backend=_BACKEND)
        super().__init__(*args, **kwargs)

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if is_main_process():
            for unfinished in Path(self.out_dir).glob('.*.pth.part'):
                unfinished.unlink()  # of a process that was killed

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._removing_afterwards():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_checkpoint(self, runner: Runner) -> None:
        super()._save_checkpoint(runner)
        if is_main_process():
            write_file(Path(runner.work_dir, 'last_checkpoint'), self.last_ckpt.encode())

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._removing_afterwards():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_afterwards(self) -> Iterator[None]:
        """Postpone what the parent removes before it writes."""
        outdated: list[str] = []
        backend = self.file_backend
        self.file_backend = copy.copy(backend)
        self.file_backend.remove = outdated.append
        try:
            yield
        finally:
            self.file_backend = backend
        written = [self.last_ckpt, getattr(self, 'best_ckpt_path', None),
                   *getattr(self, 'best_ckpt_path_dict', {}).values()]
        for path in outdated:
            if path not in written:
                backend.remove(path)
