"""Checkpoints that are whole, whenever the process dies."""

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmseg.registry import HOOKS

from mmseg_dynopool.files import write_file

from .safe_files import BACKEND


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, safe against a kill or a full disk at any moment.

    - A checkpoint appears under its name when it is complete (:func:`write_file`).
    - With ``max_keep_ckpts`` the oldest goes after the new one is there; mmengine removes it
      first, and a kill in between would leave none. So does the best one (``save_best``).
    - The note ``last_checkpoint`` is written in the same way.

    The arguments are those of CheckpointHook.
    """

    def __init__(self, *args, **kwargs):
        if kwargs.get('backend_args') is None and '://' not in (kwargs.get('out_dir') or ''):
            kwargs['backend_args'] = dict(backend=BACKEND)
        super().__init__(*args, **kwargs)

    def before_train(self, runner) -> None:
        super().before_train(runner)
        if is_main_process():
            for unfinished in Path(self.out_dir).glob('.*.pth.part'):
                unfinished.unlink()  # of a process that was killed

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        keep = self.max_keep_ckpts
        if keep <= 0:
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        before = list(self.keep_ckpt_ids)
        if step not in before:
            self.keep_ckpt_ids.append(step)  # a deque that drops the oldest by itself
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.max_keep_ckpts = -1  # the parent would remove before it writes
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        finally:
            self.max_keep_ckpts = keep
        for old in set(before) - set(self.keep_ckpt_ids):
            self._remove(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old)))

    def _save_checkpoint(self, runner) -> None:
        super()._save_checkpoint(runner)
        if is_main_process():
            write_file(Path(runner.work_dir, 'last_checkpoint'), self.last_ckpt.encode())

    def _save_best_checkpoint(self, runner, metrics) -> None:
        # The parent removes what it knows of as the best before it writes: let it know of none.
        one = getattr(self, 'best_ckpt_path', None)  # with one indicator
        several = dict(getattr(self, 'best_ckpt_path_dict', {}))
        self.best_ckpt_path = None
        self.best_ckpt_path_dict = dict.fromkeys(several)
        super()._save_best_checkpoint(runner, metrics)
        for old, new in [(one, self.best_ckpt_path),
                         *((several[key], self.best_ckpt_path_dict[key]) for key in several)]:
            if old and new and old != new:
                self._remove(old)
        self.best_ckpt_path = self.best_ckpt_path or one
        for key in several:
            self.best_ckpt_path_dict[key] = self.best_ckpt_path_dict[key] or several[key]

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)
