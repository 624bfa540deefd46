"""Checkpoints that are whole, whenever the process dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmseg_dynopool.files import write_file

from .safe_files import BACKEND


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, safe against a kill or a full disk at any moment.

    - A checkpoint appears under its name when it is complete (`files.write_file`).
    - With ``max_keep_ckpts`` the oldest goes after the new one is there; mmengine removes it
      first, and a kill in between would leave none. So does the best one (``save_best``).
    - The note ``last_checkpoint`` is written in the same way.

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

    file_backend: BaseStorageBackend

    def __init__(self, *args: Any, **kwargs: Any):
        if kwargs.get('backend_args') is None and '://' not in str(kwargs.get('out_dir')):
            kwargs['backend_args'] = dict(backend=BACKEND)
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
        """Postpone what the parent removes, which it does before it writes."""
        backend, self.file_backend = self.file_backend, _Postponing(self.file_backend)
        try:
            yield
            outdated = self.file_backend.outdated
        finally:
            self.file_backend = backend
        written = [self.last_ckpt, getattr(self, 'best_ckpt_path', None),
                   *getattr(self, 'best_ckpt_path_dict', {}).values()]
        for path in outdated:
            if path not in written:
                self.file_backend.remove(path)


class _Postponing:
    """A file backend that notes what it is to remove."""

    def __init__(self, backend: BaseStorageBackend):
        self._backend = backend
        self.outdated: list[str] = []

    def remove(self, path: str) -> None:
        self.outdated.append(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)
