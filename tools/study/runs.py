"""The list of runs, in the order in which they are trained."""

from dataclasses import dataclass

from .fashion_scenes import VARIANTS

NETWORKS = dict(
    hrnet='evidence_hrnet_fashion.py',
    deeplab='evidence_deeplabv3plus_r18_fashion.py',
    demo='demo_fixed_mni152.py',
    unet='demo_fixed_mni152.py')
METHODS = dict(
    stock='stock',
    input='smaller input',
    squeezed='input squeezed by the known stretch',
    narrow='narrower network',
    uniform='uniform fixed scales',
    picked='fixed scales, picked for the stretch',
    adaptor='Shape Adaptor, budget',
    dynopool='DynOPool, budget',
    measured='DynOPool, budget, measured gradient',
    latency='DynOPool, budget in time, measured gradient',
    retrained='learned scales, fixed and trained anew',
    fixed='fixed scales, not matched in cost',
    slopes="DynOPool held at the stock network's scales")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        network: one of ``NETWORKS``.
        data: a variant of the scenes, or a folder in ``data``, such as ``'mni152_coronal_5'``.
        method: one of ``METHODS``.
        ratio: counted cost relative to the stock network; of the method ``'latency'`` the time
            of inference relative to the start.
        seed: of weights and batches.
        options: what differs from the method's defaults, ``((name, value), ...)``, for
            ``candidates.py``.
    """

    network: str
    data: str
    method: str
    ratio: float
    seed: int
    options: tuple[tuple[str, object], ...] = ()

    @property
    def key(self) -> str:
        """Its name, in the JSON lines and for ``--only``."""
        options = [f'{name}={value}' for name, value in self.options]
        return '/'.join([self.network, self.data, self.method, f'{self.ratio:g}', *options,
                         f'seed{self.seed}'])

    @property
    def folder(self) -> str:
        """Where its data lie."""
        folder = 'fashion_scenes/' if self.data in VARIANTS else ''
        return f'data/{folder}{self.data}'

    @property
    def needs(self) -> str | None:
        """Key of the run whose scales it takes over."""
        if self.method != 'retrained':
            return None
        return Run(self.network, self.data, 'measured', self.ratio, self.seed, self.options).key


CHEAPER = ('input', 'squeezed', 'narrow', 'uniform', 'picked', 'adaptor', 'dynopool', 'measured')
# Five seeds of these: the others are far behind.
DECISIVE = ('input', 'squeezed', 'narrow', 'uniform', 'picked', 'measured')
# Of the straight-through gradient.
ANCHORS = tuple((('anchor', a), ) for a in ('corner', 'center')) + tuple(
    (('anchor', 'local'), ('window', w)) for w in (4, 16, 32))
SENSITIVITY = ((('reach', 0.25), ), (('settle', 0.6), ), (('alpha_lr', 0.25), ),
               (('alpha_lr', 4.), ), (('begin', 0.), ), (('reach', 0.75), ), (('every', 1), ),
               (('every', 4), ), (('begin', 0.), ('settle', 0.6)))
EARLY = (('begin', 0.), )
SLOW = (('alpha_lr', 0.25), )  # the straight-through gradient does better so
SCALES = (0.25, 0.35, 0.7, 0.9)


def _seeds(count: int, *arguments, options=()) -> list[Run]:
    return [Run(*arguments, seed, options) for seed in range(count)]


def _frontier(network: str, ratio: float, methods=CHEAPER, seeds: int = 3) -> list[Run]:
    return [Run(network, 'stretched_h', method, ratio, seed)
            for seed in range(seeds) for method in methods]


def all_runs() -> list[Run]:
    """Every run once; what a conclusion hangs on comes first."""
    runs = _frontier('hrnet', 1., ['stock']) + _frontier('hrnet', 0.5)
    runs += _seeds(3, 'hrnet', 'stretched_h', 'slopes', 1.)
    for data in ('isotropic', 'stretched_w', 'stretched_h'):
        runs += _seeds(5, 'hrnet', data, 'measured', 0.5)
    runs += _seeds(3, 'hrnet', 'stretched_h', 'retrained', 0.5)
    runs += _frontier('deeplab', 1., ['stock']) + _frontier('deeplab', 0.5)
    runs += _seeds(3, 'hrnet', 'stretched_h', 'dynopool', 0.5, options=SLOW)
    for options in SENSITIVITY:
        runs += _seeds(3, 'hrnet', 'stretched_h', 'measured', 0.5, options=options)
    for method, ratio in (('stock', 1.), ('uniform', 0.5), ('dynopool', 0.5), ('measured', 0.5)):
        runs += _seeds(3, 'demo', 'mni152', method, ratio)
    runs += _frontier('hrnet', 0.75)
    for data in ('isotropic', 'stretched_w'):
        runs += _seeds(3, 'hrnet', data, 'dynopool', 0.5)
    for options in ANCHORS:
        runs += _seeds(3, 'hrnet', 'stretched_h', 'dynopool', 0.5, options=options)
    runs += _frontier('hrnet', 1., ['stock'], 5)
    for ratio in (0.75, 0.5):
        runs += _frontier('hrnet', ratio, DECISIVE, 5)
    runs += _seeds(3, 'hrnet', 'stretched_h', 'retrained', 0.75)
    for scale in SCALES:
        for method in ('measured', 'fixed'):
            runs += _seeds(3, 'hrnet', 'stretched_h', method, 1., options=(('scale', scale), ))
    runs += _seeds(3, 'hrnet', 'stretched_h', 'adaptor', 0.5, options=SLOW)
    runs += _frontier('deeplab', 0.75)
    for seeds, network, ratio in ((5, 'hrnet', 0.5), (3, 'hrnet', 0.75), (3, 'deeplab', 0.5)):
        runs += _seeds(seeds, network, 'stretched_h', 'measured', ratio, options=EARLY)
    for data in ('isotropic', 'mixed', 'enlarged'):
        for method, ratio in (('stock', 1.), ('uniform', 0.5), ('measured', 0.5)):
            runs += _seeds(3, 'hrnet', data, method, ratio)
    runs += _seeds(3, 'demo', 'mni152', 'latency', 0.7)
    for method in ('measured', 'uniform'):  # at the times that these end with
        runs += _seeds(3, 'demo', 'mni152', method, 0.43)
    return list(dict.fromkeys(runs))
