"""Read what training runs logged, from the scalars of mmengine's LocalVisBackend."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np

from mmseg_dynopool.ops import pooled_size

_WHERE = 'TIMESTAMP/vis_data/scalars.json'


@dataclass(frozen=True)
class RunLog:
    """What one run logged.

    Attributes:
        name: of the run, for legends.
        train: lines of the training, iterations ascending; ``line['step']`` is the iteration.
        val: lines of the validations as they were written; mmengine counts their ``step`` in
            epochs, or in iterations with ``LoggerHook(log_metric_by_epoch=False)``.
    """

    name: str
    train: list[dict]
    val: list[dict]

    def curve(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Iterations and values of one scalar, where it was logged; both of shape ``(n,)``."""
        points = [(line['step'], line[key]) for line in self.train
                  if isinstance(line.get(key), Real)]
        steps, values = zip(*points) if points else ((), ())
        return np.array(steps, dtype=int), np.array(values, dtype=float)

    def instances(self) -> list[str]:
        """Names of the learned instances, those nearest to the image first."""
        names = {key.split('/')[1]: None for line in self.train for key in line
                 if key.startswith('dynopool/') and key.endswith('/scale_h')}
        return list(names)

    def last_sizes(self) -> dict[str, tuple[int, int]]:
        """``{'input', 'stem1' (if it learns), 'stream0', ...: (h, w)}`` by the last line.

        Empty where the run logged no sizes.
        """
        sizes = {}
        for line in self.train:
            for name in {key.split('/')[1] for key in line if key.startswith('dynopool/')}:
                size = [line.get(f'dynopool/{name}/size_{axis}') for axis in 'hw']
                if all(isinstance(n, Real) and np.isfinite(n) for n in size):
                    sizes[name] = tuple(map(int, size))
        sizes.pop('stem2', None)  # stream0 has the same
        return sizes if 'input' in sizes else {}


def stock_sizes(input_size: Sequence[int], names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Feature sizes of the stock HRNet, whose every reduction has stride 2.

    Args:
        input_size: ``(H, W)`` of the image in pixels.
        names: ``'stem1'``, ``'stream0'``, ``'stream1'``, ... as wanted.

    Returns:
        ``{name: (h, w)}``.

    Raises:
        ValueError: a name is none of an HRNet's.
    """
    sizes = {}
    for name in names:
        halvings = 1 if name == 'stem1' else 2
        if name.startswith('stream') and name[6:].isdecimal():
            halvings += int(name[6:])
        elif name not in ('stem1', 'stem2'):
            raise ValueError(f'{name!r} is no stream of an HRNet, which are stem1, stem2, stream0, '
                             'stream1, ...')
        size = tuple(input_size)
        for _ in range(halvings):
            size = pooled_size(size, (2.0, 2.0))
        sizes[name] = size
    return sizes


def read_logs(paths: Sequence[str | Path]) -> list[RunLog]:
    """Read several runs, see :func:`read_log`; where two have one name, folders tell them apart.

    Raises:
        ValueError: a run is given twice.
    """
    parts = [_run_folder(path).parts for path in paths]
    twice = [str(path) for path, p in zip(paths, parts) if parts.count(p) > 1]
    if twice:
        raise ValueError(f'a run is given twice: {", ".join(twice)}; give each work dir once')
    depth = 1
    while depth < max(map(len, parts), default=1) and len({p[-depth:] for p in parts}) < len(parts):
        depth += 1
    return [read_log(path, '/'.join(p[-depth:])) for path, p in zip(paths, parts)]


def read_log(path: str | Path, name: str | None = None) -> RunLog:
    """Read one run.

    A run that was resumed has several logs. Each replaces the earlier ones from its own first
    iteration on, also where it began anew.

    Args:
        path: a work dir with ``TIMESTAMP/vis_data/scalars.json``, a run's folder ``TIMESTAMP``,
            or one such JSON file.
        name: of the run; default: its work dir's.

    Raises:
        ValueError: there is no log, or it is no log of a training with ``DynOPoolHook``.
    """
    path = Path(path)
    rows = join_lines(path)
    train = [line for _, line in rows if _is_training(line)]
    val = [line for _, line in rows if not _is_training(line)]
    log = RunLog(name or _run_folder(path).name, train, val)
    if not log.instances():
        found = sorted({key for line in train + val for key in line} - {'step'})
        raise ValueError(
            f'the log of {str(path)!r} holds no dynopool/INSTANCE/scale_h (it holds '
            f'{", ".join(found[:6]) or "nothing"}); it must come from a training with '
            "custom_hooks=[dict(type='DynOPoolHook')]")
    return log


def join_lines(path: str | Path) -> list[tuple[int, dict]]:
    """All that a run logged, of any network: ``(iteration, line)``, resumed parts joined.

    Args:
        path: as for :func:`read_log`.

    Raises:
        ValueError: there is no log, or it is none of mmengine's.
    """
    rows: list[tuple[int, dict]] = []
    for file in _log_files(Path(path)):
        later = _place(_read_lines(file))
        first = next((step for step, line in later if _is_training(line)), float('inf'))
        rows = [(step, line) for step, line in rows if step < first] + later
    return rows


def _is_training(line: dict) -> bool:
    return 'iter' in line or 'loss' in line


def _place(lines: list[dict]) -> list[tuple[int, dict]]:
    """Lines with their iteration.

    A validation may count in epochs: it stands no earlier than the training step before it.
    """
    placed = []
    step = 0
    for line in lines:
        step = max(step, line['step'])
        placed.append((step, line))
    return placed


def _log_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f'there is no work dir or log {str(path)!r}')
    for pattern in ('*/vis_data/scalars.json', 'vis_data/scalars.json', 'scalars.json'):
        files = sorted(path.glob(pattern))  # by time, which names their folders
        if files:
            return files
    what = 'holds no log' if any(path.iterdir()) else 'is empty'
    raise ValueError(f'{str(path)!r} {what}; give the work dir of a training, with {_WHERE}, which '
                     "the visualizer's LocalVisBackend writes, or that file")


def _run_folder(path: str | Path) -> Path:
    """The work dir of a log, for its name."""
    path = Path(path).resolve()
    if path.is_file():
        if path.parent.name != 'vis_data':
            return path.with_suffix('')
        path = path.parent
    if path.name == 'vis_data':
        path = path.parent
    stamp = path.name.replace('_', '')
    return path.parent if len(stamp) == 14 and stamp.isdecimal() else path


def _read_lines(file: Path) -> list[dict]:
    lines = [line for line in file.read_text(errors='replace').splitlines() if line.strip()]
    read = []
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
        except ValueError:
            if number == len(lines) and text.startswith('{"'):
                break  # a kill cut off the last line, maybe the only one
            line = None
        if not isinstance(line, dict) or not isinstance(line.get('step'), int):
            raise ValueError(f'line {number} of {str(file)!r} is no line of an mmengine log: '
                             f'{text[:60]!r}; give the work dir of a training, or its {_WHERE}')
        # LogProcessor(log_with_hierarchy=True) writes train/loss for loss.
        read.append({key.removeprefix('train/').removeprefix('val/'): value
                     for key, value in line.items()})
    return read
