"""Read what trainings logged, from the scalars of mmengine's LocalVisBackend."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from numbers import Real
from pathlib import Path

from mmseg_dynopool.hooks.shape_scalar import ShapeScalar

Series = list[tuple[int, float]]
_WHERE = 'TIMESTAMP/vis_data/scalars.json'


@dataclass(frozen=True)
class RunLog:
    """The scalars of one training, of any network, resumed parts joined; iterations ascend."""

    name: str
    series: dict[str, Series] = field(default_factory=dict)

    def get(self, key: str) -> Series:
        """One series; empty if it was not logged."""
        return self.series.get(key, [])

    def shape(self, instance: str, quantity: str) -> dict[str, Series]:
        """``{'h': series, 'w': series}`` of a quantity of `ShapeScalar`."""
        return {axis: self.get(ShapeScalar(instance, quantity, axis).key) for axis in 'hw'}

    def instances(self, quantity: str = 'scale') -> list[str]:
        """Names of the instances whose quantity was logged, those nearest to the image first."""
        scalars = filter(None, map(ShapeScalar.parse, self.series))
        return list(dict.fromkeys(s.instance for s in scalars if s.quantity == quantity))

    def costs(self) -> list[str]:
        """Names of the costs that were logged, each with its ``<name>_ratio``."""
        return [key.removesuffix('_ratio') for key in self.series
                if re.fullmatch(r'\w+_ratio', key)]

    def task_loss(self) -> Series:
        """The loss without the cost's term, of ``gmacs_weight`` or of a budget in version 0.3."""
        cost = dict(self.get('loss_gmacs') or self.get('loss_latency'))
        return [(step, loss - cost.get(step, 0.0)) for step, loss in self.get('loss')]

    def last_sizes(self) -> dict[str, tuple[int, int]]:
        """``(h, w)`` by ``'input'``, ``'stem1'``, ... as last logged; empty without sizes."""
        sizes: dict[str, tuple[int, int]] = {}
        for instance in self.instances('size'):
            heights, widths = map(dict, self.shape(instance, 'size').values())
            pairs = [(heights[step], widths[step]) for step in heights if step in widths]
            finite = [pair for pair in pairs if all(map(isfinite, pair))]
            if finite:
                sizes[instance] = int(finite[-1][0]), int(finite[-1][1])
        sizes.pop('stem2', None)  # stream0 has the same
        return sizes if 'input' in sizes else {}


def read_logs(paths: Sequence[str | Path]) -> list[RunLog]:
    """Read several runs that learned scales; folders tell apart those of one name.

    Raises:
        ValueError: a run is given twice; see `read_log`.
    """
    parts = [_run_folder(Path(path)).parts for path in paths]
    repeated = [str(path) for path, p in zip(paths, parts) if parts.count(p) > 1]
    if repeated:
        raise ValueError(f'a run is given twice: {", ".join(repeated)}; give each work dir once')
    depth = 1
    while len({p[-depth:] for p in parts}) < len(parts):
        depth += 1
    return [read_log(path, '/'.join(p[-depth:])) for path, p in zip(paths, parts)]


def read_log(path: str | Path, name: str | None = None, learned: bool = True) -> RunLog:
    """Read one run from its work dir, a folder ``TIMESTAMP`` of it, or its ``scalars.json``.

    A run that was resumed has several logs. Each replaces the earlier ones from its own first
    iteration on, also where it began anew.

    Raises:
        ValueError: there is no mmengine log, or it lacks the scales of a DynOPool (with
            ``learned=False``: a training loss).
    """
    rows: list[tuple[int, dict]] = []
    for file in _log_files(Path(path)):
        resumed = _read_lines(file)
        first = next((step for step, line in resumed if 'iter' in line or 'loss' in line),
                     inf)  # of the training
        rows = [(step, line) for step, line in rows if step < first] + resumed
    series: dict[str, Series] = {}
    for step, line in rows:
        for key, value in line.items():
            if isinstance(value, Real) and not isinstance(value, bool):
                series.setdefault(key, []).append((step, float(value)))
    log = RunLog(name or _run_folder(Path(path)).name, series)
    logged = sorted({key for _, line in rows for key in line} - {'step'})
    if learned and not log.instances():
        raise ValueError(f'the log of {str(path)!r} holds no dynopool/INSTANCE/scale_h (it holds '
                         f'{", ".join(logged[:6]) or "nothing"}); it must come from a training '
                         "with custom_hooks=[dict(type='DynOPoolHook')]")
    if not learned and not log.get('loss'):
        raise ValueError(f'the logs in {str(path)!r} hold no training loss (found: '
                         f'{", ".join(logged[:5]) or "nothing"}); give the work dir of a '
                         'training by mmseg or mmseg_dynopool')
    return log


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


def _run_folder(path: Path) -> Path:
    """The work dir of a log, for its name."""
    path = path.resolve()
    if path.is_file():
        path = path.parent if path.parent.name == 'vis_data' else path.with_suffix('')
    if path.name == 'vis_data':
        path = path.parent
    return path.parent if re.fullmatch(r'\d{8}_\d{6}', path.name) else path


def _read_lines(file: Path) -> list[tuple[int, dict]]:
    """Lines with their iteration.

    A validation may count in epochs: it gets at least the step of the training line before it.
    """
    lines = [line for line in file.read_text(errors='replace').splitlines() if line.strip()]
    parsed, step = [], 0
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
        step = max(step, line['step'])
        # LogProcessor(log_with_hierarchy=True) writes train/loss for loss.
        parsed.append((step, {key.removeprefix('train/').removeprefix('val/'): value
                              for key, value in line.items()}))
    return parsed
