"""mmengine's runner, with checkpoints that are read once and run no code."""

from collections.abc import Callable

from mmengine import runner
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import _load_checkpoint_to_model

from .checkpoint import Checkpoint


class Runner(runner.Runner):
    """mmengine's ``Runner``, whose ``load_from`` and ``resume`` load a :class:`Checkpoint`.

    Attributes:
        checkpoint: one that was read already, used when its path is asked for, then dropped.
    """

    checkpoint: Checkpoint | None = None

    def load_checkpoint(self, filename: str, map_location: str | Callable = 'cpu',
                        strict: bool = False, revise_keys: list = [(r'^module.', '')]) -> dict:  # noqa: B006  mmengine's default
        """Load a checkpoint's weights, and give hooks what belongs to them.

        Args:
            filename, strict, revise_keys: as in mmengine.
            map_location: not used: tensors are read to the CPU, and copied to where they belong.

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
