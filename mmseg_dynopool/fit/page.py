"""The report of a fit as one HTML page."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from mmseg_dynopool.report.figures import BLUE, VERMILION, encode_figure

if TYPE_CHECKING:
    from .write import Fitted



def make_page(fitted: Fitted) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader(__package__, '.'), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True)
    before, after = fitted.before.class_scores(), fitted.after.class_scores()
    return environment.get_template('page.html.jinja').render(
        fitted=fitted, css=(files('mmseg_dynopool.report') / 'page.css').read_text(),
        verdict=verdict(fitted), race=_url(draw_race(fitted)),
        rows=list(zip(fitted.found.tried, fitted.found.racers)),
        classes=[(name, before[name], after[name]) for name in before])


def verdict(fitted: Fitted) -> str:
    """Whether the choice is told from the plain smaller input, in a sentence."""
    lead = fitted.lead
    if lead is None:
        return 'The plain smaller input was not fine-tuned, so nothing says whether it is behind.'
    if fitted.tuned[0].plain:
        return 'The plain smaller input of the same cost won: no other shape was better.'
    words = f'{lead:.2f} points ahead of the plain smaller input of the same cost'
    return (f'The choice is {words}, as judged after a third of the fine-tuning.' if lead >= 0.5
            else f'The choice is {words}: one training each does not tell them apart.')


def draw_race(fitted: Fitted) -> Figure:
    """The losses of the sizes over their aspect, with what is known of their differences."""
    figure = Figure(figsize=(7, 3.6), layout='constrained')
    axis = figure.subplots()
    best = fitted.found.racers[0].mean
    for number, (size, racer) in enumerate(zip(fitted.found.tried, fitted.found.racers)):
        if not np.isfinite(racer.behind):
            continue
        noise = racer.noise if np.isfinite(racer.noise) else 0.0
        axis.errorbar(size.scale[0] / size.scale[1], best + racer.behind, yerr=noise, fmt='o',
                      color=VERMILION if number == fitted.found.plain else BLUE,
                      alpha=min(1.0, 0.3 + 0.1 * len(racer.losses)))
        axis.annotate(str(size), (
            size.scale[0] / size.scale[1], best + racer.behind), fontsize=7,
            xytext=(3, 3), textcoords='offset points')
    axis.set_xscale('log')
    axis.set_xlabel('height to width, relative to the image')
    axis.set_ylabel('loss of the untouched network')
    return figure


def _url(figure: Figure) -> str:
    return f'data:image/png;base64,{base64.b64encode(encode_figure(figure, dpi=130)).decode()}'
