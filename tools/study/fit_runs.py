"""The runs of docs/fit.md: networks trained three times as long, fitted to less cost."""

from collections.abc import Iterator

from .runs import Run, _seeds

LONG = (('iterations', 900), )
PLACES = (('hrnet', 'stretched_h', LONG), ('hrnet', 'isotropic', LONG),
          ('deeplab', 'stretched_h', LONG), ('deeplab', 'isotropic', LONG),
          ('demo', 'mni152', (('iterations', 1200), )))
# Of the stock network's. Half of the time is out of reach: too much of it is the operators' starts;
# half of the multiply-adds takes about three quarters of the time.
TARGETS = dict(time=0.75, gmacs=0.5)


def places() -> Iterator[tuple[tuple[str, str, str], list[Run]]]:
    """``(unit of the target, network, data)``, and its runs, whose method is the unit."""
    for unit, target in TARGETS.items():
        for network, data, options in PLACES:
            if unit == 'gmacs' or data == 'stretched_h':
                yield (unit, network, data), _seeds(3, network, data, unit, target,
                                                    options=options)


def all_runs() -> list[Run]:
    """Every run once."""
    return [run for _, runs in places() for run in runs]
