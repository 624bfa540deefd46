"""Checkpoints that are whole, whenever the process dies."""

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmseg.registry import HOOKS

from .safe_files import BACKEND


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, safe against a kill or a full disk at any moment.

    - A checkpoint appears under its name when it is complete (:func:`write_file`).
    - With ``max_keep_ckpts`` the oldest goes after the new one is there; mmengine removes it
      first, and a kill in between would leave none.

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
        if is_main_process():
            for old in set(before) - set(self.keep_ckpt_ids):
                Path(self.out_dir, self.filename_tmpl.format(old)).unlink(missing_ok=True)
