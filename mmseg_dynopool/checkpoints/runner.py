"""mmengine's runner, with checkpoints that are read once and run no code."""

from collections.abc import Callable
from pathlib import Path

from mmengine import runner
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from mmseg.registry import RUNNERS

from mmseg_dynopool.config_text import config_text

from .checkpoint import Checkpoint


def build_runner(cfg: Config) -> runner.Runner:
    """The runner of a config: a `Runner`, or of its ``runner_type``.

    The copy of the config in the work dir is written so that it reads back unchanged.
    """
    built = RUNNERS.build(cfg) if cfg.get('runner_type') else Runner.from_cfg(cfg)
    copied = Path(built.work_dir, Path(built.cfg.filename or f'{built.timestamp}.py').name)
    if is_main_process() and copied.suffix == '.py' and copied.is_file():
        try:
            copied.write_bytes(config_text(built.cfg).encode())
        except ValueError as error:
            built.logger.warning('%s will not be read back as it is: %s', copied, error)
    return built


class Runner(runner.Runner):
    """mmengine's `Runner`, which reads a checkpoint once and runs no code of it.

    `load_from` and `resume` load a [`Checkpoint`][mmseg_dynopool.checkpoints.Checkpoint].

    Attributes:
        checkpoint: one that was read already; used if its path is loaded next, then dropped.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> from torch import nn
        >>> from mmseg_dynopool.checkpoints import Runner
        >>> model = nn.Conv2d(3, 8, 3)
        >>> with TemporaryDirectory() as work_dir:  # a config: Runner.from_cfg(cfg).train()
        ...     torch.save(model.state_dict(), f'{work_dir}/iter_1000.pth')
        ...     runner = Runner(model, work_dir, default_scope='mmseg', log_level='ERROR')
        ...     print(list(runner.load_checkpoint(f'{work_dir}/iter_1000.pth')))
        ['weight', 'bias']
    """

    checkpoint: Checkpoint | None = None

    def load_checkpoint(self, filename: str, map_location: str | Callable = 'cpu',
                        strict: bool = False, revise_keys: list = [(r'^module.', '')]) -> dict:  # noqa: B006  mmengine's default
        """Load a checkpoint's weights, and give hooks what belongs to them.

        The arguments are mmengine's, but tensors are read to the CPU, whatever ``map_location``.

        Raises:
            ValueError: it cannot be read, or holds more than a training writes.
        """
        checkpoint, self.checkpoint = self.checkpoint, None
        if checkpoint is None or checkpoint.path != filename:
            checkpoint = Checkpoint.read(filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint.content)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        _load_checkpoint_to_model(model, checkpoint.content, strict, revise_keys=revise_keys)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint.content
