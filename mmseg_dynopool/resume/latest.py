"""Where a run resumes, and whether two runs are at the same point."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log

from mmseg_dynopool.checkpoints import Checkpoint


def latest_checkpoint(*folders: str | Path) -> str | None:
    """The checkpoint to resume from, or None.

    mmengine notes its name in the file ``last_checkpoint``. If that note is cut off, or names a
    file that was moved, the ``iter_*.pth`` or ``epoch_*.pth`` of the highest number counts; if
    there is none, the note is returned, and loading it says that the file is gone.

    Args:
        *folders: the work dir, and where else its checkpoints may be.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from mmseg_dynopool.resume import latest_checkpoint
        >>> with TemporaryDirectory() as work_dir:
        ...     for name in ('iter_9000.pth', 'iter_10000.pth', 'best_mIoU_iter_9000.pth'):
        ...         Path(work_dir, name).touch()
        ...     print(Path(latest_checkpoint(work_dir)).name)
        iter_10000.pth
    """
    note = Path(folders[0], 'last_checkpoint')
    noted = note.read_text(encoding='utf-8', errors='replace').strip() if note.is_file() else ''
    if noted and (Path(noted).is_file() or '://' in noted):
        return noted
    there = [path for folder in folders for path in Path(folder).glob('*.pth')
             if re.fullmatch(r'(iter|epoch)_\d+', path.stem)]
    named = [path for path in there if noted and path.name == Path(noted).name]
    best = max(named or there, key=lambda path: int(path.stem.split('_')[1]), default=None)
    return str(best) if best else noted or None


def resume_from_latest(cfg: Config) -> Checkpoint | None:
    """Make a config resume from the latest checkpoint in its work dir, in place.

    Without one the training starts, from the weights of ``load_from`` if any. A config without a
    seed gets the checkpoint's, so that the data keep their order.

    Returns:
        The checkpoint, read; None without one.

    Raises:
        ValueError: it cannot be read.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> from mmengine.config import Config
        >>> from mmseg_dynopool.resume import resume_from_latest
        >>> with TemporaryDirectory() as work_dir:
        ...     torch.save(dict(state_dict=dict(weight=torch.ones(2)), meta=dict(seed=7)),
        ...                f'{work_dir}/iter_1000.pth')
        ...     cfg = Config(dict(work_dir=work_dir))
        ...     checkpoint = resume_from_latest(cfg)
        >>> checkpoint.name, cfg.resume, cfg.randomness
        ('iter_1000.pth', True, {'seed': 7})
    """
    folders = [cfg.work_dir]
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    out_dir = hook.get('out_dir') if isinstance(hook, dict) else None
    if out_dir and '://' not in str(out_dir):  # where mmengine's hook puts them then
        folders.append(Path(out_dir, Path(cfg.work_dir).name))
    path = latest_checkpoint(*folders)
    cfg.resume = path is not None
    if path is None:
        start = f', from the weights of {cfg.load_from}' if cfg.get('load_from') else ' anew'
        print_log(f'nothing to resume in {cfg.work_dir}; the training starts{start}', 'current')
        return None
    cfg.load_from = path
    checkpoint = Checkpoint.read(path)
    if (cfg.get('randomness') or {}).get('seed') is None and 'seed' in checkpoint.meta:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=checkpoint.meta['seed'])
    return checkpoint


def checkpoint_differences(path: str | Path, other: str | Path) -> list[str]:
    """Where two training checkpoints differ by a bit.

    Compared are weights, buffers, moving averages, the optimizer's state and groups, the
    schedulers and the iteration; not times, paths and logs. The names are dotted.
    """
    pair = [dict(Checkpoint.read(str(p)).content) for p in (path, other)]
    for content in pair:
        content.pop('message_hub', None)
        content['meta'] = {key: content['meta'][key] for key in ('epoch', 'iter', 'seed')}
    return list(_differences('', *pair))


def _differences(name: str, a: object, b: object) -> Iterator[str]:
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        a, b = dict(enumerate(a)), dict(enumerate(b))
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}, key=str):
            below = f'{name}.{key}'.lstrip('.')
            if key in a and key in b:
                yield from _differences(below, a[key], b[key])
            else:
                yield f'{below} (only in one)'
    elif isinstance(a, (torch.Tensor, np.ndarray)):
        # Bytes, so that equal NaNs are equal.
        if type(a) is not type(b) or np.asarray(a).tobytes() != np.asarray(b).tobytes():
            yield name
    elif type(a) is not type(b) or not (a == b or (a != a and b != b)):
        yield name
