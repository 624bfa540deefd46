"""One self-contained HTML page about a training: what it learned and what that costs."""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import zip_longest
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from mmseg_dynopool.analysis.recipe import recipe, seed
from mmseg_dynopool.analysis.work_dir import Run, read_run
from mmseg_dynopool.cli.options import check_device
from mmseg_dynopool.config_text import config_text
from mmseg_dynopool.files import check_folder, write_file
from mmseg_dynopool.ops.size import check_whole

from .collect import BASELINE, RUN, STOCK, Report, collect, heading
from .curves import STYLES, draw_report_panel, report_panels
from .figures import data_url, encode_figure

# Of a drawn feature map, in pixels of the screen.
_LONGEST_SIDE = 210


def run_report(work_dir: str | Path, baseline: str | Path | Sequence[str | Path] | None = None,
               out: str | Path | None = None, images: int = 3, repeats: int = 20,
               device: str = 'cpu', shape: Sequence[int] | None = None,
               options: dict | None = None) -> Path:
    """Write the report of a training, finished or not, and nothing else; returns its path.

    The last checkpoint is evaluated anew on the validation images, and timed on this machine with
    the stock network. The arguments are the options of ``tools/report.py``; ``options`` override
    settings of the configs, e.g. where the data are now.

    Raises:
        ValueError: the data are not there; or see `read_run`.
    """
    for name, value in (('images', images), ('repeats', repeats)):
        check_whole(name, value)
    out = Path(work_dir, 'report.html') if out is None else Path(out)
    if out.is_dir():
        raise ValueError(f'{str(out)!r} is a folder; give the file to write, e.g. '
                         f'{str(out / "report.html")!r}')
    check_device(device)
    run = read_run(work_dir, options)
    folders = [baseline] if isinstance(baseline, str | Path) else baseline or []
    if len(folders) >= len(STYLES):
        raise ValueError(f'a report shows at most {len(STYLES) - 1} baselines, got {len(folders)}')
    others = [read_run(folder, options) for folder in folders]
    check_folder(out.parent)
    write_file(out, make_page(collect(run, others, shape, images, repeats, device)).encode())
    return out


def page_template(package: str) -> Template:
    """The ``page.html.jinja`` of a package; it can include the files of this one."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, '.') for name in (package, __package__)]),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=_number, png=data_url, config_text=config_text)
    return environment.get_template('page.html.jinja')


def make_page(report: Report) -> str:
    """The page of a report."""
    baselines = {heading(title): each for title, each in report.baselines.items()}
    runs = [('This run', 'of this run', report.ours.run)]
    runs += [(heading(title), 'of ' + ('the baseline' if title == BASELINE else title), each.run)
             for title, each in report.baselines.items()]
    labels, feature_maps = _feature_maps(report)
    longest = max(side for sizes in feature_maps for size in sizes.values() for side in size)
    recipes = [recipe(run) for *_, run in runs]
    return page_template(__package__).render(
        report=report,
        runs=runs,
        written=datetime.now(),
        recipe={name: [each.get(name, '-') for each in recipes]
                for name in dict.fromkeys(name for each in recipes for name in each)},
        cards=_cards(report),
        classes=_classes(report),
        baselines=baselines,
        learned={title: each for title, each in baselines.items() if each.scales},
        columns=_columns,
        feature_maps=feature_maps,
        labels=labels,
        pixel=_LONGEST_SIDE / longest,
        charts=[(encode_figure(figure, dpi=150), words) for figure, words in _charts(report)],
        notes={title: _notes(run) for title, _, run in runs})


def _charts(report: Report) -> Iterator[tuple[Figure, str]]:
    """The pictures of the training, each with words for those who cannot see it."""
    logs = {title: each.run.log for title, each in report.baselines.items()}
    for panel in report_panels(report.ours.run.log, logs):
        yield draw_report_panel(panel), panel.describe()


def _number(value: float | None, form: str = '.2f') -> str:
    """``12.34``, or ``-`` if it is unknown."""
    return '-' if value is None or math.isnan(value) else format(value, form)


def _cards(report: Report) -> list[tuple[str, str, str]]:
    """The numbers at the top: name, value, note."""
    cost, reference = report.costs[RUN], report.costs[report.reference]
    ratios = (cost.gmacs / reference.gmacs, cost.params / reference.params,
              cost.time_ratio(reference)[1])
    compared = STOCK if report.stock else report.reference
    notes = [f'{r:.3f} of the {compared}' if report.reference != RUN else '' for r in ratios]
    ours, outcome = report.ours.evaluation, report.outcome
    accuracy = ', '.join(f'{title} {_number(each.evaluation.score())} %'
                         for title, each in report.baselines.items()) or (
        f'{len(ours.paths)} validation images')
    cards = [(ours.score_name, f'{_number(ours.score())} %', accuracy),
             ('Multiply-adds', f'{cost.gmacs:.4g} G', notes[0]),
             ('Parameters', f'{cost.params / 1e6:.3f} M', notes[1]),
             ('One image', f'{cost.median_ms:.3g} ms', notes[2])]
    if outcome is not None:
        cards.append((f'Budget, {"met" if outcome.is_met else "missed"}',
                      f'{outcome.cost:.4g} {outcome.unit}',
                      f'{outcome.wanted:.4g} {outcome.unit} are wanted'))
    return cards


def _classes(report: Report) -> list[dict]:
    """Name, color, score and share of the pixels (both in percent) of each class."""
    evaluation = report.ours.evaluation
    shares = 100 * evaluation.truth.sum(0) / max(evaluation.truth.sum(), 1)
    others = [each.evaluation.class_scores() for each in report.baselines.values()]
    return [dict(name=name, color=evaluation.palette[i], score=score,
                 baselines=[other.get(name, math.nan) for other in others], share=shares[i])
            for i, (name, score) in enumerate(evaluation.class_scores().items())]


def _columns(titles: Iterable[str], *forms: str) -> list[str]:
    """Headings of columns, for each baseline in turn."""
    return [form.format(title) for title in titles for form in forms]


def _feature_maps(report: Report) -> tuple[dict[str, str], list[dict[str, tuple[int, int]]]]:
    """What is drawn to scale: this run, the stock network, learned baselines.

    ``{kind: label}``, and ``{kind: (H, W)}`` for each of the backbone's outputs; ``kind`` is the
    CSS class of a rectangle.
    """
    drawn = {'run': (RUN, RUN)}
    if report.ours.scales and report.stock:
        drawn['stock'] = report.stock, 'stock'
    learned = [title for title, each in report.baselines.items() if each.scales]
    drawn |= {f'baseline{k}' if k > 1 else 'baseline': (title, title)
              for k, title in enumerate(learned, 1)}
    rows = zip_longest(*(report.costs[name].sizes for name, _ in drawn.values()))
    maps = [{kind: size for kind, size in zip(drawn, row) if size} for row in rows]
    return ({kind: label for kind, (_, label) in drawn.items()},
            [sizes for sizes in maps if 'run' in sizes])


def _notes(run: Run) -> str:
    """What a checkpoint notes of its training."""
    notes = {'seed': seed(run), 'mmengine': run.checkpoint.meta.get('mmengine_version'),
             'written': run.checkpoint.meta.get('time')}
    return ', '.join(f'{key} {value}' for key, value in notes.items() if value is not None)
