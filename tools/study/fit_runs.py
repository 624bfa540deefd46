"""The runs of docs/fit.md: networks trained three times as long, fitted to less cost."""

from .runs import Run, _seeds

LONG = (('iterations', 900), )
PLACES = (('hrnet', 'stretched_h', LONG), ('hrnet', 'isotropic', LONG),
          ('deeplab', 'stretched_h', LONG), ('deeplab', 'isotropic', LONG),
          ('demo', 'mni152', (('iterations', 1200), )))
# Of the stock network's. Half of the time is out of reach: too much of it is the operators' starts.
TARGETS = dict(time=0.75, gmacs=0.5)


def all_runs() -> list[Run]:
    """Every run once; the method is the unit of the target."""
    return [run for unit, target in TARGETS.items() for network, data, options in PLACES
            for run in _seeds(3, network, data, unit, target, options=options)]
