"""Read what a run logged, from the scalars of mmengine's LocalVisBackend."""

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Scalars:
    """The scalars of one run over training, resumed parts joined.

    Attributes:
        series: ``{name: [(iteration, value), ...]}``, iterations ascending.
    """

    series: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def get(self, name: str) -> list[tuple[int, float]]:
        """One series, empty if it was not logged."""
        return self.series.get(name, [])

    def task_loss(self) -> list[tuple[int, float]]:
        """The loss without the cost's term, which a stock network does not have."""
        cost = dict(self.get('loss_gmacs'))
        return [(i, loss - cost.get(i, 0.0)) for i, loss in self.get('loss')]

    def scales(self) -> dict[str, dict[str, list[tuple[int, float]]]]:
        """``{instance: {'h': series, 'w': series}}``."""
        names = [name.split('/')[1] for name in self.series
                 if name.startswith('dynopool/') and name.endswith('/scale_h')]
        return {name: {axis: self.get(f'dynopool/{name}/scale_{axis}') for axis in 'hw'}
                for name in names}


def read_scalars(work_dir: str | Path) -> Scalars:
    """Read all of a run's logs, ``WORK_DIR/TIMESTAMP/vis_data/scalars.json``.

    Where a run was killed and resumed, or begun anew, a later log replaces the earlier ones from
    its first iteration on.

    Raises:
        ValueError: there is no log, or none of a training with a loss.
    """
    paths = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not paths:
        raise ValueError(f'{str(work_dir)!r} holds no log (TIMESTAMP/vis_data/scalars.json); give '
                         'the work dir of a training whose visualizer has a LocalVisBackend')
    rows: list[tuple[int, dict]] = []
    for path in paths:
        later = _read_rows(path)
        first = min((i for i, _ in later), default=None)
        if first is not None:
            rows = [(i, row) for i, row in rows if i < first] + later
    series: dict[str, list[tuple[int, float]]] = {}
    for iteration, row in rows:
        for name, value in row.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                series.setdefault(name, []).append((iteration, float(value)))
    if 'loss' not in series:
        raise ValueError(f'the logs in {str(work_dir)!r} hold no training loss (found: '
                         f'{", ".join(list(series)[:5]) or "nothing"}); give the work dir of a '
                         'training by mmseg or mmseg_dynopool')
    return Scalars(series)


def _read_rows(path: Path) -> list[tuple[int, dict]]:
    """The lines of one log with their iterations.

    Lines of a validation may count in epochs: they stand behind their last training step.
    """
    rows = []
    last = 0
    lines = [line for line in path.read_text(errors='replace').splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            step = int(row['iter'] if 'iter' in row else row['step'])
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines) and isinstance(error, ValueError):
                break  # a kill cut off the last line
            raise ValueError(f'line {number} of {path} is no line of an mmengine log: '
                             f'{line[:60]!r}; give the work dir of a training by mmseg or '
                             'mmseg_dynopool') from error
        last = max(last, step)
        rows.append((last, row))
    return rows
