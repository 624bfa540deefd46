"""docs/evidence.md and which_way.md: what the finished runs of all studies say together."""

from collections.abc import Iterable
from pathlib import Path

from . import fit_page, fit_runs, image_runs, runs
from .figures import draw_groups, study_figure
from .image_runs import (
    JITTERED,
    LEARNED,
    LONG,
    SHAPES,
    SPACED_3,
    SPOKEN,
    SPOKEN_SHAPES,
    SPOKEN_SPACED,
    SPOKEN_STEPS,
    SPOKEN_STRAIGHT,
    STRAIGHT,
    THICK,
    UNIFORM,
)
from .lines import read_lines
from .tables import NAMES, Group, Results, difference, markdown, score
from .template import render

# Label, whether a run of version 0.3's study, method, options.
SERIES = (
    ('smaller input', True, 'input', ()),
    ('smaller input, multiples of 8', False, 'aligned', ()),
    ('smaller input, begun at full size', False, 'planned', ()),
    ('narrower network', True, 'narrow', ()),
    ('squeezed, stretch known', True, 'squeezed', ()),
    ('image + DynOPool, uniform', False, 'learner', UNIFORM),
    ('DynOPool, version 0.3', True, 'measured', ()),
    ('image + DynOPool, learned', False, 'learner', LEARNED))
PLACES = (('hrnet', 'stretched_h'), ('deeplab', 'stretched_h'), ('hrnet', 'isotropic'),
          ('demo', 'mni152'))
PANELS = (('gmacs_ratio', 'multiply-adds'), ('test_time_ratio', 'time of inference'))


def write_page(docs: Path) -> None:
    """Write the pages and their figures from the lines of ``docs/*/runs.jsonl``."""
    page = Overview(docs)
    for name in ('evidence', 'which_way'):
        (docs / f'{name}.md').write_text(render(name, page=page))
    for network, data in PLACES:
        page.draw(network, data, docs / 'evidence' / f'{network}_{data}.png')
    page.draw_unequal(docs / 'evidence' / 'unequal_axes.png')


class Overview:
    """Tables, differences and figures of the page."""

    def __init__(self, docs: Path):
        done = {name: read_lines(docs / name / 'runs.jsonl')
                for name in ('evidence', 'image_level', 'fit')}
        self.old = Results(done['evidence'], runs.all_runs())
        self.new = Results(done['image_level'], image_runs.all_runs())
        self.fits = fit_page.places(done['fit'])
        self.places = [(network, data, f'{NAMES[network]}, {data}') for network, data in PLACES]
        self.missing = sum(run.key not in done['image_level'] for run in self.new.runs) + sum(
            run.key not in done['fit'] for run in fit_runs.all_runs())

    def group(self, network: str, data: str, method: str, ratio: float = 0.5,
              options: tuple = (), old: bool = False) -> Group:
        """A group of runs; empty where none is listed."""
        return (self.old if old else self.new).found(network, data, method, ratio, **dict(options))

    def learned(self, network: str, data: str, long: bool = False, ratio: float = 0.5) -> Group:
        """The learned networks, in trainings of the usual length or of 900 iterations."""
        return self.group(network, data, 'learner', ratio, JITTERED + LONG if long else LEARNED)

    def ahead(self, network: str, data: str, method: str, old: bool = False, long: bool = False,
              ratio: float = 0.5, others_ratio: float | None = None) -> str:
        """The learned networks less others, which may have another cost."""
        others = self.group(network, data, method, 1. if method == 'stock' else
                            others_ratio or ratio, LONG if long else (), old)
        return difference(self.learned(network, data, long, ratio), others)

    def changed(self, option: str, value: object, half: str = 'miou') -> str:
        """The learned HRNet on stretched scenes with an option changed, less the defaults."""
        changed = self.group('hrnet', 'stretched_h', 'learner', 0.5,
                             (*LEARNED, (option, value)))
        return difference(changed, self.learned('hrnet', 'stretched_h'), half)

    def learning(self, network: str, data: str, half: str = 'miou') -> str:
        """What learning adds: less the same networks and plan with scales that do not learn."""
        return difference(self.learned(network, data),
                          self.group(network, data, 'learner', 0.5, UNIFORM), half)

    def costs(self) -> str:
        """mIoU at half of the multiply-adds."""
        rows = []
        for network, data, name in self.places:
            groups = [self.group(network, data, 'stock', 1., old=True),
                      *(self.group(network, data, method, 0.5, options, old)
                        for _, old, method, options in SERIES)]
            rows.append([name, *map(score, groups), difference(groups[-1], groups[2])])
        return markdown(['', 'stock, cost 1', *(label for label, *_ in SERIES),
                         'learned less smaller input'], rows)

    def slices(self) -> str:
        """Thick slices; costs are relative to the demo's stock network."""
        rows = [['stock network', 'stock'],
                ['stock sizes, jitter as augmentation', 'learner', *STRAIGHT],
                *([_image_of(size), 'shaped', ('size', size)] for size in SHAPES),
                ["nnU-Net's rule for strides", 'spaced'],
                ["nnU-Net's rule, image halved", 'spaced', ('image', 0.5)],
                ['image + DynOPool, no jitter', 'learner', ('jitter', 0.)],
                ['**image + DynOPool, learned**', 'learner', JITTERED[1]]]
        groups = [(f'{NAMES[network]}, {name}', self.slice_group(*run, network=network))
                  for network in ('demo', 'unet') for name, *run in rows]
        groups += [(f"{NAMES['demo']}, **learned** at {ratio:g} of the cost",
                    self.slice_learned(ratio)) for ratio in (0.5, 2., 4.)]
        return _costs_apart(groups)

    def thinner_slices(self) -> str:
        """Slices of 3 mm."""
        return _costs_apart([
            ('stock network', self.slice_group('stock', mm=3)),
            ("nnU-Net's rule for strides, smaller image",
             self.slice_group('spaced', SPACED_3, mm=3)),
            ('**image + DynOPool, learned**', self.slice_learned(mm=3))])

    def spoken_numbers(self) -> str:
        """Spectrograms."""
        return _costs_apart([
            ('stock network', self.spoken('stock')),
            ('stock sizes, jitter as augmentation', self.spoken_uniform()),
            *((_image_of(size), self.spoken_shape(size)) for size in SPOKEN_SHAPES),
            ('strides by hand, image of 32 x 128', self.spoken('spaced', SPOKEN_SPACED)),
            ('**image + DynOPool, learned**', self.spoken_learned()),
            ('smaller input, multiples of 8', self.spoken('aligned', ratio=0.5)),
            ('image + DynOPool, uniform, with jitter', self.spoken_uniform(0.5)),
            ('**image + DynOPool, learned**', self.spoken_learned(0.5))], 'miou_test')

    def spoken(self, method: str, options: tuple = (SPOKEN_STEPS, ), ratio: float = 1.) -> Group:
        """Of the spectrograms."""
        return self.group('hrnet', 'spoken_numbers', method, ratio, options)

    def spoken_by_hand(self) -> dict[str, Group]:
        """Those that somebody would build who knows that time matters."""
        return dict(strides=self.spoken('spaced', SPOKEN_SPACED),
                    shape=_best(self.spoken_shape(size) for size in SPOKEN_SHAPES))

    def spoken_shape(self, size: str) -> Group:
        """Spectrograms resized to a shape by hand."""
        return self.spoken('shaped', (SPOKEN_STEPS, ('size', size)))

    def spoken_learned(self, ratio: float = 1.) -> Group:
        """The learned networks of the spectrograms."""
        return self.spoken('learner', SPOKEN, ratio)

    def spoken_uniform(self, ratio: float = 1.) -> Group:
        """The same with scales that do not learn: jitter alone at the stock network's cost."""
        return self.spoken('learner', SPOKEN_STRAIGHT, ratio)

    def slice_group(self, method: str, *more: tuple, network: str = 'demo', ratio: float = 1.,
                    mm: int = 5) -> Group:
        """Of the thick slices."""
        options = THICK if method == 'learner' else THICK[1:]
        return self.group(network, f'mni152_coronal_{mm}', method, ratio, (*options, *more))

    def slice_learned(self, ratio: float = 1., network: str = 'demo', mm: int = 5) -> Group:
        """The learned networks of the thick slices."""
        return self.slice_group('learner', JITTERED[1], network=network, ratio=ratio, mm=mm)

    def best_shape(self) -> Group:
        """The image's shape that is best by hand at about the stock network's cost."""
        return _best(self.slice_group('shaped', ('size', size)) for size in SHAPES)

    def long(self) -> str:
        """Trainings of 900 iterations."""
        rows = []
        for network in ('hrnet', 'deeplab'):
            rows.append([NAMES[network], score(self.long_stock(network)),
                         score(self.group(network, 'stretched_h', 'aligned', 0.5, LONG)),
                         score(self.learned(network, 'stretched_h', long=True)),
                         score(self.group(network, 'stretched_h', 'learner', 0.5, LEARNED + LONG))])
        return markdown(['stretched_h', 'stock, cost 1', 'smaller input, multiples of 8',
                         'image + DynOPool, learned', 'the same, no jitter'], rows)

    def long_stock(self, network: str) -> Group:
        """The stock networks of such trainings: those that are fitted."""
        trained = self.fits.get(('gmacs', network, 'stretched_h'), [])
        return Group(tuple(dict(miou=line['scores']['stock'][0]) for line in trained),
                     len(trained))

    def less_long_stock(self, network: str) -> str:
        """The learned networks of such trainings less the stock ones."""
        return difference(self.learned(network, 'stretched_h', long=True),
                          self.long_stock(network))

    def fit(self) -> str:
        """Trained networks, fitted."""
        rows = [[fit_page.heading(*place),
                 *(fit_page.column(lines, key, 0) for key in ('stock', 'plain', 'fit')),
                 fit_page.ahead(lines, 0), len(lines)] for place, lines in self.fits.items()]
        return markdown(['', 'as trained', 'plain smaller input', 'fit', 'fit less plain',
                         'seeds'], rows)

    def fitted(self, network: str, data: str) -> str:
        """Trained networks, fitted to half of their multiply-adds."""
        return fit_page.column(self.fits.get(('gmacs', network, data), []), 'fit', 0)

    def fit_ahead(self, network: str, data: str, unit: str = 'gmacs', of: str = 'plain') -> str:
        """Trained networks, fitted, less the plain smaller input or the stock network."""
        lines = self.fits.get((unit, network, data))
        return fit_page.ahead(lines, 0, of) if lines else '-'

    def aligned_costs(self) -> str:
        """Of the smaller inputs at half of the multiply-adds, least and most."""
        costs = [cost for network, data in PLACES for method in ('aligned', 'planned')
                 for cost in self.group(network, data, method).values('gmacs_ratio')]
        return ' to '.join(f'{cost:.2f}'[1:] for cost in (min(costs), max(costs)))

    apart = staticmethod(difference)

    @staticmethod
    def cost(group: Group) -> str:
        """Multiply-adds, relative to the stock network."""
        return f'{group.mean("gmacs_ratio"):.2f}'[1:]

    @staticmethod
    def time(group: Group) -> str:
        """Of inference, relative to the stock network."""
        return f'{group.median("test_time_ratio"):.2f}' if group.lines else '-'

    def draw(self, network: str, data: str, path: Path) -> None:
        """mIoU over cost and over time."""
        stock = self.group(network, data, 'stock', 1., old=True)
        with study_figure(path, 1, 2, figsize=(7.2, 3.2), sharey=True) as panels:
            for axes, (name, label) in zip(panels, PANELS):
                for number, (title, old, method, options) in enumerate(reversed(SERIES)):
                    groups = [stock, *(self.group(network, data, method, ratio, options, old)
                                       for ratio in (0.75, 0.5, 0.35))]
                    groups = [group for group in groups if group.lines]
                    if len(groups) > 1:
                        draw_groups(axes, groups, name, number, title)
                axes.set_xlabel(f'{label}, relative')
            panels[0].set_ylabel('mIoU')
            panels[0].legend(fontsize=6.5, frameon=False)

    def draw_unequal(self, path: Path) -> None:
        """mIoU over cost, where the axes of the images are not alike."""
        panels = {
            "slices of 5 mm, the demo's HRNet": (
                ('stock', [self.slice_group('stock')]),
                ('image shaped by hand', [self.best_shape()]),
                ('strides by hand', [self.slice_group('spaced', ('image', 0.5)),
                                     self.slice_group('spaced')]),
                ('image + DynOPool, learned', [self.slice_learned(ratio)
                                               for ratio in (0.5, 1., 2., 4.)])),
            'spoken numbers, HRNet': (
                ('stock, smaller input', [self.spoken('aligned', ratio=0.5),
                                          self.spoken('stock')]),
                ('image shaped by hand', [self.spoken_by_hand()['shape']]),
                ('strides by hand', [self.spoken_by_hand()['strides']]),
                ('image + DynOPool, learned', [self.spoken_learned(ratio)
                                               for ratio in (0.5, 1.)]))}
        with study_figure(path, 1, 2, figsize=(7.2, 3.2)) as both:
            for axes, (title, series) in zip(both, panels.items()):
                for number, (label, groups) in enumerate(reversed(series)):
                    groups = [group for group in groups if group.lines]
                    if groups:
                        draw_groups(axes, groups, 'gmacs_ratio', number, label)
                axes.set_title(title, fontsize=9)
                axes.set_xscale('log', base=2)
                axes.xaxis.set_major_formatter('{x:g}')
                axes.set_xlabel('multiply-adds, relative')
                axes.legend(fontsize=6.5, frameon=False)
            both[0].set_ylabel('mIoU')


def _image_of(size: str) -> str:
    """How a table names a shape such as ``'64x80'``."""
    return f'image of {size.replace("x", " x ")}'


def _best(groups: Iterable[Group]) -> Group:
    """The group with the highest mean."""
    return max(groups, key=lambda group: group.mean('miou') if group.lines else 0.0)


def _costs_apart(groups: list[tuple[str, Group]], tested: str = '') -> str:
    """A table of networks whose costs differ, relative to the first one's."""
    whole = groups[0][1].mean('gmacs') if groups[0][1].lines else 1.
    return markdown(
        ['', 'mIoU', *(['test half'] if tested else []), 'cost', 'time', 'seeds'],
        ([name, group.spread('miou'), *([group.spread(tested)] if tested else []),
          f'{group.mean("gmacs") / whole:.2f}', Overview.time(group), len(group.lines)]
         for name, group in groups if group.lines))
