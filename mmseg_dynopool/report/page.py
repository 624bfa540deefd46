"""The report as one HTML page that needs nothing but itself."""

import math
from datetime import datetime
from html import escape

from mmseg_dynopool.analysis.settings import recipe

from . import pictures
from .collect import RUN, STOCK, Report, Sample
from .elements import bar, image, number, swatch, table
from .style import STYLE

# The browser itself refuses whatever is not in the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def make_page(report: Report) -> str:
    """The page of a report."""
    sections = {
        'Accuracy by class': _classes(report),
        'Cost': _costs(report),
        'Feature maps to scale': _sizes(report),
        'Training': _curves(report),
        'Validation images': _samples(report),
        'Recipe': _recipe(report),
        'Versions and seeds': _versions(report),
    }
    links = ''.join(f'<li><a href="#{_id(t)}">{escape(t)}</a></li>' for t in sections)
    body = ''.join(f'<section id="{_id(t)}"><h2>{escape(t)}</h2>{text}</section>'
                   for t, text in sections.items())
    name = escape(report.run.name)
    against = f', beside {escape(report.baseline.name)}' if report.baseline else ''
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>Report: {name}</title><style>{STYLE}</style></head><body>'
        f'<header><h1>{name}{against}</h1>'
        f'<p class="soft">{escape(recipe(report.run)["Network"])}; written '
        f'{datetime.now():%Y-%m-%d %H:%M}</p>{_numbers(report)}'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>'
        f'<main>{body}</main></body></html>\n')


def _id(title: str) -> str:
    return title.lower().replace(' ', '-')


def _numbers(report: Report) -> str:
    cost, reference = report.costs[RUN], report.reference()
    stock = report.costs[reference]
    cards = [('mIoU', f'{number(report.evaluation.miou())} %',
              f'baseline {number(report.baseline_evaluation.miou())} %'
              if report.baseline else f'{len(report.evaluation.paths)} validation images'),
             ('Multiply-adds', f'{cost.gmacs:.4g} G', ''),
             ('Parameters', f'{cost.params / 1e6:.3f} M', ''),
             ('One image', f'{cost.median_ms:.3g} ms', '')]
    if reference != RUN:
        short = STOCK if STOCK in reference else reference
        for i, ratio in ((1, cost.gmacs / stock.gmacs), (2, cost.params / stock.params),
                         (3, cost.time_ratio(stock)[1])):
            cards[i] = (*cards[i][:2], f'{ratio:.3f} of the {short}')
    cells = ''.join(f'<div><dt>{name}</dt><dd>{value}<small>{escape(note)}</small></dd></div>'
                    for name, value, note in cards)
    return f'<dl class="numbers">{cells}</dl>'


def _classes(report: Report) -> str:
    own, other = report.evaluation, report.baseline_evaluation
    iou = own.class_iou()
    theirs = other.class_iou() if other else {}
    pixels = own.truth.sum(0)
    head = ['Class', 'IoU (%)', *(['Baseline IoU (%)', 'Difference'] if other else []),
            'Share of pixels (%)']
    rows = []
    for i, (name, value) in enumerate(iou.items()):
        row = [swatch(own.palette[i]) + escape(name), number(value) + bar(value)]
        if other:
            base = theirs.get(name, math.nan)
            row += [number(base) + bar(base, 'other'), number(value - base, '+.2f')]
        rows.append([*row, number(100 * pixels[i] / max(pixels.sum(), 1))])
    foot = ['Mean', number(own.miou())]
    if other:
        foot += [number(other.miou()), number(own.miou() - other.miou(), '+.2f')]
    foot.append('')
    text = (f'<p>Last checkpoint ({escape(report.run.checkpoint.rpartition("/")[2])}), evaluated '
            f'anew on {len(own.paths)} validation images by mmseg\'s IoUMetric; all pixels '
            f'correct: {number(float(own.totals()["aAcc"]))} %.</p>')
    if other:
        text += ('<p>One training each: how much another seed would change is not in these '
                 'numbers.</p>')
    if other and other.paths != own.paths:
        text += ('<p><strong>The baseline was evaluated on other images, those of its own '
                 'config.</strong></p>')
    return text + table(head, rows, foot, kind='classes', caption='IoU by class')


def _costs(report: Report) -> str:
    reference = report.costs[report.reference()]
    passes = '1 pass' if report.repeats == 1 else f'{report.repeats} passes'
    rows = []
    for name, cost in report.costs.items():
        low, middle, high = cost.time_ratio(reference)
        rows.append([
            escape(name), f'{cost.params:,}', f'{cost.gmacs:.4g}',
            f'{cost.gmacs / reference.gmacs:.3f}', f'{cost.median_ms:.2f}', f'{middle:.3f}',
            f'{low:.3f} to {high:.3f}'])
    head = ['Network', 'Parameters', 'GMACs', 'Ratio', 'Median ms', 'Ratio', 'Half within']
    return (
        f'<p>One image of {report.shape[0]} x {report.shape[1]} (h x w) through backbone and '
        f'head, in evaluation mode on {escape(report.machine["Device"])}. '
        f'{passes} of each network, taking turns after two warm-up rounds. GMACs '
        'are 1e9 multiply-adds, counted operator by operator at the rounded sizes. Ratios are to '
        f'the {escape(report.reference())}; that of the times is the median over the rounds, half '
        'of which lie within the last column: a wide one tells of a busy machine.</p>'
        + table(head, rows, caption='Parameters, multiply-adds and latency'))


def _sizes(report: Report) -> str:
    kinds = {'run': report.costs[RUN].sizes}
    labels = {'run': 'this run', 'stock': 'stock', 'baseline': 'baseline'}
    if report.scales and report.reference() != 'baseline':
        kinds['stock'] = report.costs[report.reference()].sizes
    if report.baseline_scales:
        kinds['baseline'] = report.costs['baseline'].sizes
    text = ''
    if not report.scales:
        text = '<p>This network has fixed strides: it holds no DynOPool.</p>'
    streams = '; feature map 1 is stream0\'s' if 'stream1' in report.scales else ''
    pixel = 210 / max(side for sizes in kinds.values() for size in sizes for side in size)
    figures, rows = [], []
    for i in range(len(kinds['run'])):
        sizes = {kind: found[i] for kind, found in kinds.items() if i < len(found)}
        words = ', '.join(f'{labels[kind]} {h} x {w}' for kind, (h, w) in sizes.items())
        svg = pictures.sizes_svg(sizes, pixel, f'Feature map {i + 1}: {words}')
        figures.append(f'<figure>{svg}<figcaption>Feature map {i + 1}<br>'
                       f'{"<br>".join(words.split(", "))}</figcaption></figure>')
    marks = ''.join(
        f'<li><svg width="18" height="12" aria-hidden="true"><rect class="{kind}" x="1" y="1" '
        f'width="16" height="10"/></svg>{labels[kind]}</li>' for kind in kinds)
    for name, scale in report.scales.items():
        row = [escape(name), *(f'{r:.3f}' for r in scale), f'{scale[0] / scale[1]:.3f}']
        if report.baseline_scales:
            row += [f'{r:.3f}' for r in report.baseline_scales.get(name, ())] or ['-', '-']
        rows.append(row)
    head = ['DynOPool', 'r of height', 'r of width', 'height : width']
    head += ['Baseline, height', 'Baseline, width'] if report.baseline_scales else []
    scales = table(head, rows, caption='Learned scales') if rows else ''
    return (f'{text}<p>The backbone\'s outputs (h x w) for an image of {report.shape[0]} x '
            f'{report.shape[1]}, all at one scale{streams}.</p><ul class="key">{marks}</ul>'
            f'<div class="sizes">{"".join(figures)}</div>{scales}')


def _curves(report: Report) -> str:
    charts = pictures.charts(report.run.scalars,
                             report.baseline.scalars if report.baseline else None)
    return '<div class="charts">' + ''.join(
        f'<figure>{image(pictures.png(pictures.draw_chart(chart)), chart.describe())}</figure>'
        for chart in charts) + '</div>'


def _samples(report: Report) -> str:
    own = report.evaluation
    key = ''.join(f'<li>{swatch(color)}{escape(name)}</li>'
                  for name, color in zip(own.classes, own.palette))
    return (
        '<p>mIoU of one image: the mean over the classes that occur in it or in its prediction. '
        'Pixels without a label stay gray.</p>'
        f'<ul class="key">{key}</ul><h3>Best</h3>{"".join(map(_sample, report.best))}'
        + (f'<h3>Worst</h3>{"".join(map(_sample, report.worst))}' if report.worst else ''))


def _sample(sample: Sample) -> str:
    title = f'{sample.name}: mIoU {number(sample.miou)}\xa0%'
    if sample.baseline_miou is not None:
        title += f', baseline {number(sample.baseline_miou)}\xa0%'
    panels = ''.join(f'<div><p>{escape(name)}</p>{image(png, f"{name} of {sample.name}")}</div>'
                     for name, png in sample.panels.items())
    return (f'<figure class="sample"><figcaption>{escape(title)}</figcaption>'
            f'<div class="panels">{panels}</div></figure>')


def _recipe(report: Report) -> str:
    own = recipe(report.run)
    if report.baseline is None:
        text = table(['Setting', 'This run'], [[k, escape(v)] for k, v in own.items()],
                     texts=2, kind='recipe', caption='Recipe')
    else:
        other = recipe(report.baseline)
        names = [*own, *(k for k in other if k not in own)]
        text = table(['Setting', 'This run', 'Baseline'],
                     [[k, escape(own.get(k, '-')), escape(other.get(k, '-'))] for k in names],
                     texts=3, kind='recipe', caption='Recipe')
        for name in names:  # a mark, so that equal rows need not be read twice
            if own.get(name) != other.get(name):
                row = f'<tr><th scope="row">{name}</th>'
                text = text.replace(row, row.replace('<tr>', '<tr class="differs">'))
        text = '<p>Settings with a * differ.</p>' + text
    for title, run in (('of this run', report.run), ('of the baseline', report.baseline)):
        if run is not None:
            text += (f'<details><summary>The whole config {title}</summary>'
                     f'<pre>{escape(run.cfg.pretty_text)}</pre></details>')
    return text


def _versions(report: Report) -> str:
    rows = dict(report.machine)
    for title, run in (('This run', report.run), ('Baseline', report.baseline)):
        if run is not None:
            notes = {'seed': recipe(run)['Seed'], 'mmengine': run.meta.get('mmengine_version'),
                     'written': run.meta.get('time')}
            rows[title] = ', '.join(f'{k} {v}' for k, v in notes.items() if v)
    return ('<p>Those that evaluated and measured for this page; below, what the checkpoints '
            'note.</p>' + table(['What', 'Version'], [[escape(k), escape(v)]
                                                      for k, v in rows.items()],
                                 texts=2, kind='recipe', caption='Versions and seeds'))
