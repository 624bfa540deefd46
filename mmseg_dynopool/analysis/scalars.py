"""The curves of a run, learned or not."""

from dataclasses import dataclass, field
from pathlib import Path

from .logs import join_lines


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
    """Read all of a run's logs; see :func:`mmseg_dynopool.analysis.logs.read_log`.

    Raises:
        ValueError: there is no log, or none of a training with a loss.
    """
    series: dict[str, list[tuple[int, float]]] = {}
    for iteration, line in join_lines(work_dir):
        for name, value in line.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                series.setdefault(name, []).append((iteration, float(value)))
    if 'loss' not in series:
        raise ValueError(f'the logs in {str(work_dir)!r} hold no training loss (found: '
                         f'{", ".join(list(series)[:5]) or "nothing"}); give the work dir of a '
                         'training by mmseg or mmseg_dynopool')
    return Scalars(series)
