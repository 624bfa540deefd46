"""The runs of docs/learner.md: how the scales learn, and what its options do."""

from .runs import Run, _seeds

# At 0.75 an HRNet learns its streams alone, at 0.5 its stem, too.
CANDIDATES = (('deeplab', 'stretched_h', 0.5), ('hrnet', 'stretched_h', 0.5),
              ('hrnet', 'stretched_h', 0.75), ('demo', 'mni152', 0.5), ('hrnet', 'isotropic', 0.5))
NO_JITTER = (('jitter', 0.), )
JITTERS = (0., 0.05, 0.2)
OPTIONS = (
    (('travel', 0.), ), (('travel', 1.), ), (('travel', 10.), ), (('shrink', False), ),
    (('every', 4), ), (('begin', 0.), ('reach', 0.2)), (('clip', 1.), ), (('amp', True), ),
    (('optimizer', 'AdamW'), ), (('optimizer', 'AdamW'), ('clip', 1.)), (('optimizer', 'Lion'), ),
    (('optimizer', 'Lion'), ('clip', 1.)))
# Of the HRNet on stretched_h at half the cost; () are the defaults.
VARIANTS = ((), *((('jitter', jitter), ) for jitter in JITTERS), *OPTIONS)


def all_runs() -> list[Run]:
    """Every run once; what a conclusion hangs on comes first."""
    runs = []
    for seed in range(3):
        for network, data, ratio in CANDIDATES:
            for options in (NO_JITTER, ()):
                runs.append(Run(network, data, 'learner', ratio, seed, options))
    for jitter in JITTERS:
        runs += _seeds(3, 'hrnet', 'stretched_h', 'learner', 0.5, options=(('jitter', jitter), ))
        runs += _seeds(3, 'hrnet', 'stretched_h', 'jittered', 0.5, options=(('jitter', jitter), ))
    for options in OPTIONS:
        runs += _seeds(3, 'hrnet', 'stretched_h', 'learner', 0.5, options=options)
    return list(dict.fromkeys(runs))
