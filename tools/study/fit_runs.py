"""The runs of docs/fit.md: networks trained three times as long, fitted to half their cost."""

from .runs import Run, _seeds

LONG = (('iterations', 900), )
PLACES = (('hrnet', 'stretched_h', LONG), ('hrnet', 'isotropic', LONG),
          ('deeplab', 'stretched_h', LONG), ('deeplab', 'isotropic', LONG),
          ('demo', 'mni152', (('iterations', 1200), )))
TARGETS = ('time', 'gmacs')


def all_runs() -> list[Run]:
    """Every run once; the method is the unit of the target, half of the stock network's."""
    return [run for unit in TARGETS for network, data, options in PLACES
            for run in _seeds(3, network, data, unit, 0.5, options=options)]
