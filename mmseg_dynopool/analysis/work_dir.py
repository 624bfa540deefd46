"""What a work dir holds: the config as it ran, the last checkpoint, the logs."""

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmseg_dynopool.checkpoints import Checkpoint
from mmseg_dynopool.config import adapt_to_devices, dynopool_parts, is_segmentor, read_config
from mmseg_dynopool.resume.latest import latest_checkpoint

from .logs import RunLog, read_log


@dataclass
class Run:
    """A training, named as its work dir: the config as it ran, the last checkpoint, the log."""

    name: str
    cfg: Config
    checkpoint: Checkpoint
    log: RunLog


def read_run(work_dir: str | Path, options: dict | None = None) -> Run:
    """Read a work dir; ``options`` override settings of its config.

    Raises:
        ValueError: it lacks its config, checkpoint or logs, or one belongs to another project.
    """
    folder = Path(work_dir)
    if not folder.is_dir():
        raise ValueError(f'there is no work dir {str(work_dir)!r}; give the folder that '
                         'tools/train.py wrote, e.g. work_dirs/NAME_OF_CONFIG')
    configs = [*folder.glob('*.py')] or [*folder.glob('*/vis_data/config.py')]
    if not configs:
        raise ValueError(f'{str(folder)!r} holds no config: mmengine writes the config of a run '
                         'there as NAME.py; copy the one it was trained with to it')
    # The newest: runs of several configs may have followed each other.
    config = max(configs, key=lambda path: (path.stat().st_mtime, path.name))
    cfg = read_config(str(config), options)
    cfg.launcher = 'none'  # the run may have had many processes
    adapt_to_devices(cfg)
    head = 'decode_head' if is_segmentor(cfg.model) else 'head'
    for key in () if dynopool_parts(cfg.model) else ('backbone', head):
        if not cfg.model.get(key):
            raise ValueError(f'{config} is no config of a segmentor or a classifier: model.{key} '
                             'is missing; give the work dir of such a training')
    if (cfg.get('val_dataloader') or {}).get('dataset') is None:
        raise ValueError(f'{config} has no val_dataloader, whose images the report evaluates; add '
                         'one to this copy of the config')
    return Run(folder.resolve().name, cfg, Checkpoint.read(_checkpoint(folder)),
               read_log(folder, learned=False))


def _checkpoint(folder: Path) -> str:
    path = latest_checkpoint(folder)
    if path and (folder / Path(path).name).is_file():  # the note names the training's folder
        return str(folder / Path(path).name)
    if path is None or ('://' not in path and not Path(path).is_file()):
        raise ValueError(f'{str(folder)!r} holds no checkpoint (iter_*.pth or epoch_*.pth); a '
                         'report is written of what was trained: set default_hooks.checkpoint')
    return path
