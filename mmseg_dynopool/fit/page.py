"""The report of a fit as one HTML page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from mmseg_dynopool.analysis.evaluation import Evaluation
from mmseg_dynopool.report.figures import BLUE, SKY_BLUE, VERMILION, encode_figure
from mmseg_dynopool.report.page import page_template
from mmseg_dynopool.search.search import SearchResult

from .fitting import Fitting, Tuned


@dataclass
class Fitted:
    """A finished fit: the trained network ``before``, and ``after`` on the validation images."""

    fitting: Fitting
    target: float
    found: SearchResult
    tuned: list[Tuned]  # the best first
    untouched: bool  # whether it has the trained weights, which a fine-tuning made worse
    before: Evaluation
    after: Evaluation
    time: float  # relative to the trained network's, by turns
    ms: float  # of the trained network, for an image
    # What changed most: name, points of mIoU, PNG files by title.
    pictures: list[tuple[str, float, dict[str, bytes]]]

    @property
    def plain(self) -> Tuned | None:
        """The plain smaller input, where it was fine-tuned."""
        return next((one for one in self.tuned if one.plain), None)


def make_page(fitted: Fitted) -> str:
    """The page."""
    before, after = fitted.before.class_scores(), fitted.after.class_scores()
    return page_template(__package__).render(
        fitted=fitted, fitting=fitted.fitting, verdict=verdict(fitted),
        race=encode_figure(draw_race(fitted), dpi=130),
        rows=list(zip(fitted.found.tried, fitted.found.racers)),
        classes=[(name, before[name], after[name]) for name in before])


def verdict(fitted: Fitted) -> str:
    """Whether the choice is told from the plain smaller input, and the tuning helped."""
    choice, plain = fitted.tuned[0], fitted.plain
    if plain is None or choice.score is None or plain.score is None:
        words = 'The plain smaller input was not fine-tuned, so nothing says whether it is behind.'
    elif len(fitted.tuned) == 1:
        words = 'The plain smaller input alone was fine-tuned.'
    elif choice is plain:
        words = 'The plain smaller input of the same cost won: no other shape was better.'
    else:
        # The noise of each is that of its difference to the best, which is as good as the choice.
        lead, noise = choice.score - plain.score, plain.score_noise
        words = (f'The choice is {lead:.2f} ± {noise:.2f} points ahead of the plain smaller input '
                 'of the same cost, as judged after a third of the fine-tuning')
        words += '.' if lead > 2 * noise else (
            ': that does not tell them apart, and the loss of the untouched network decided.')
    if fitted.untouched:
        words += ' What is written has the trained weights, which no fine-tuning made better.'
    return words


def draw_race(fitted: Fitted) -> Figure:
    """The losses of the sizes over their aspect, with what is known of their differences."""
    figure = Figure(figsize=(7, 3.6), layout='constrained')
    axis = figure.subplots()
    best = fitted.found.racers[0].mean
    named = [str(one.size) for one in (fitted.tuned[0], fitted.plain) if one is not None]
    for number, (size, racer) in enumerate(zip(fitted.found.tried, fitted.found.racers)):
        if not np.isfinite(racer.behind):
            continue
        place = math.exp(size.aspect), best + racer.behind
        color = VERMILION if number == fitted.found.plain else SKY_BLUE if size.inner else BLUE
        axis.errorbar(*place, yerr=racer.noise if np.isfinite(racer.noise) else 0.0, fmt='o',
                      color=color, alpha=min(1.0, 0.3 + 0.1 * len(racer.losses)))
        if str(size) in named:
            axis.annotate(str(size), place, fontsize=7, xytext=(4, -9), textcoords='offset points')
    axis.set_xscale('log', base=2)
    axis.xaxis.set_major_formatter('{x:g}')
    axis.set(xlabel='height to width, relative to the image',
             ylabel='loss of the untouched network')
    return figure


def draw_frontier(fits: Sequence[Fitted]) -> Figure:
    """Score over time of a trained network and of what it was fitted to."""
    figure = Figure(figsize=(5, 3.4), layout='constrained')
    axis = figure.subplots()
    whole = float(np.median([fitted.ms for fitted in fits]))
    points = sorted((whole * fitted.time, fitted.after.score(), str(fitted.tuned[0].size))
                    for fitted in fits)
    axis.plot([ms for ms, *_ in points], [score for _, score, _ in points], 'o-', color=BLUE)
    for ms, score, size in points:
        axis.annotate(size, (ms, score), fontsize=7, xytext=(3, -9), textcoords='offset points')
    axis.plot(whole, fits[0].before.score(), 's', color=VERMILION, label='as trained')
    axis.set(xlabel='time of one image (ms)', ylabel=f'{fits[0].after.score_name} (%)',
             xlim=(0, None))
    axis.legend(frameon=False)
    return figure
