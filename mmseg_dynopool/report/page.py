"""The report as one HTML page that needs nothing but itself: a template, filled in."""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import zip_longest

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmseg_dynopool.analysis.recipe import recipe, seed
from mmseg_dynopool.analysis.work_dir import Run
from mmseg_dynopool.config_text import config_text

from .collect import BASELINE, RUN, STOCK, Report, heading
from .curves import draw_report_panel, report_panels
from .figures import data_url, encode_figure

# Of a drawn feature map, in pixels of the screen.
_LONGEST_SIDE = 210


def make_page(report: Report) -> str:
    """The page of a report."""
    environment = Environment(
        loader=PackageLoader(__package__, '.'), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=_number, png=data_url, config_text=config_text)
    baselines = {heading(title): each for title, each in report.baselines.items()}
    drawn = _drawn(report)
    feature_maps = _feature_maps(report, drawn)
    longest = max(side for sizes in feature_maps for size in sizes.values() for side in size)
    runs = [('This run', 'of this run', report.ours.run)]
    runs += [(heading(title), 'of ' + ('the baseline' if title == BASELINE else title), each.run)
             for title, each in report.baselines.items()]
    panels = report_panels(report.ours.run.log, {
        title: each.run.log for title, each in report.baselines.items()})
    return environment.get_template('page.html.jinja').render(
        report=report,
        runs=runs,
        written=datetime.now(),
        recipe=_recipe([run for *_, run in runs]),
        cards=_cards(report),
        classes=_classes(report),
        baselines=baselines,
        learned={title: each for title, each in baselines.items() if each.scales},
        columns=_columns,
        feature_maps=feature_maps,
        labels={kind: label for kind, (_, label) in drawn.items()},
        pixel=_LONGEST_SIDE / longest,
        charts=[(encode_figure(draw_report_panel(panel), dpi=150), panel.describe())
                for panel in panels],
        notes={title: _notes(run) for title, _, run in runs})


def _number(value: float | None, form: str = '.2f') -> str:
    """``12.34``, or ``-`` for what is not known."""
    return '-' if value is None or math.isnan(value) else format(value, form)


def _cards(report: Report) -> list[tuple[str, str, str]]:
    """The numbers at the top: name, value, note."""
    cost, reference = report.costs[RUN], report.costs[report.reference]
    ratios = (cost.gmacs / reference.gmacs, cost.params / reference.params,
              cost.time_ratio(reference)[1])
    compared = STOCK if report.stock else report.reference
    notes = [f'{r:.3f} of the {compared}' if report.reference != RUN else '' for r in ratios]
    accuracy = ', '.join(f'{title} {_number(each.evaluation.score())} %'
                         for title, each in report.baselines.items()) or (
        f'{len(report.ours.evaluation.paths)} validation images')
    ours = report.ours.evaluation
    return [(ours.score_name, f'{_number(ours.score())} %', accuracy),
            ('Multiply-adds', f'{cost.gmacs:.4g} G', notes[0]),
            ('Parameters', f'{cost.params / 1e6:.3f} M', notes[1]),
            ('One image', f'{cost.median_ms:.3g} ms', notes[2]), *_budget(report)]


def _budget(report: Report) -> list[tuple[str, str, str]]:
    """What the network costs of what its budget wants."""
    outcome = report.outcome
    if outcome is None:
        return []
    kept = 'met' if outcome.is_met else 'missed'
    return [(f'Budget, {kept}', f'{outcome.cost:.4g} {outcome.unit}',
             f'{outcome.wanted:.4g} {outcome.unit} are wanted')]


def _classes(report: Report) -> list[dict]:
    """Name, color, score and share of the pixels (both in percent) of each class."""
    evaluation = report.ours.evaluation
    shares = 100 * evaluation.truth.sum(0) / max(evaluation.truth.sum(), 1)
    others = [each.evaluation.class_scores() for each in report.baselines.values()]
    return [dict(name=name, color=evaluation.palette[i], score=score,
                 baselines=[other.get(name, math.nan) for other in others], share=shares[i])
            for i, (name, score) in enumerate(evaluation.class_scores().items())]


def _columns(titles: Iterable[str], *forms: str) -> list[str]:
    """Headings of columns, of each baseline in turn."""
    return [form.format(title) for title in titles for form in forms]


def _recipe(runs: Sequence[Run]) -> dict[str, list[str]]:
    """By setting, what each run has."""
    recipes = [recipe(run) for run in runs]
    names = dict.fromkeys(name for each in recipes for name in each)
    return {name: [each.get(name, '-') for each in recipes] for name in names}


def _drawn(report: Report) -> dict[str, tuple[str, str]]:
    """``{kind: (network, label)}`` of what is drawn to scale: this run, stock, learned baselines.

    The kind is the class of a rectangle on the page.
    """
    drawn = {'run': (RUN, RUN)}
    if report.ours.scales and report.stock:
        drawn['stock'] = report.stock, 'stock'
    learned = [title for title, each in report.baselines.items() if each.scales]
    return drawn | {f'baseline{k}' if k > 1 else 'baseline': (title, title)
                    for k, title in enumerate(learned, 1)}


def _feature_maps(report: Report, drawn: dict[str, tuple[str, str]]
                  ) -> list[dict[str, tuple[int, int]]]:
    """``{kind: (H, W)}`` of each of the backbone's outputs; of this run first."""
    sizes = zip_longest(*(report.costs[name].sizes for name, _ in drawn.values()))
    maps = [{kind: size for kind, size in zip(drawn, row) if size} for row in sizes]
    return [sizes for sizes in maps if 'run' in sizes]


def _notes(run: Run) -> str:
    """What a checkpoint notes of its training."""
    notes = {'seed': seed(run), 'mmengine': run.checkpoint.meta.get('mmengine_version'),
             'written': run.checkpoint.meta.get('time')}
    return ', '.join(f'{key} {value}' for key, value in notes.items() if value is not None)
