"""Candidates that are compared on the same batches, until few are left."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t  # type: ignore[import-untyped]

_SURE = 0.975  # one-sided confidence that a difference is not chance


class Racer(NamedTuple):
    """One candidate of a race.

    Attributes:
        losses: of the batches that it has seen, in their order.
        behind: mean difference to the winner on the batches that both have seen.
        noise: standard error of that difference; infinite for a single batch.
    """

    losses: tuple[float, ...]
    behind: float
    noise: float

    @property
    def mean(self) -> float:
        """Mean loss."""
        return float(np.mean(self.losses))


class Race:
    """The worst half drops out as batches are added, until all are used or the rest is told apart.

    Differences of two candidates on the same batch have a fraction of the noise that either loss
    has.

    Args:
        lose: ``lose(candidate, batch)``, the loss of a candidate, by its number, on a batch, by
            its number. A loss that is not finite puts a candidate last.
        candidates: their number.
        batches: their number.
        first: batches of the first round; each round has twice as many in all.
        keep: candidates that stay in to the end.
        on_round: is told ``(passes done, batches of each candidate that is left)``.

    Raises:
        ValueError: there are no candidates or no batches.

    Examples:
        >>> from mmseg_dynopool.search import Race
        >>> race = Race(lambda candidate, batch: candidate + 0.1 * batch, candidates=8, batches=8)
        >>> race.run()
        [0, 1, 2, 3, 4, 5, 6, 7]
        >>> [len(racer.losses) for racer in race.racers]
        [8, 8, 8, 4, 2, 2, 2, 2]
    """

    def __init__(self, lose: Callable[[int, int], float], candidates: int, batches: int,
                 first: int = 2, keep: int = 3,
                 on_round: Callable[[int, int], None] | None = None):
        if candidates < 1 or batches < 1:
            raise ValueError('a race needs candidates and batches, got '
                             f'{candidates!r} and {batches!r}')
        self.lose = lose
        self.batches = batches
        self.first = first
        self.keep = keep
        self.on_round = on_round
        self.losses: list[list[float]] = [[] for _ in range(candidates)]

    def run(self) -> list[int]:
        """The candidates, the best first; those that dropped out later come before others."""
        alive, out = list(range(len(self.losses))), list[int]()
        seen = min(self.first, self.batches)
        while True:
            for candidate in alive:
                losses = self.losses[candidate]
                for batch in range(len(losses), seen):
                    loss = float(self.lose(candidate, batch))
                    losses.append(loss if math.isfinite(loss) else math.inf)
            alive.sort(key=lambda candidate: (np.mean(self.losses[candidate]), candidate))
            if self.on_round:
                self.on_round(sum(map(len, self.losses)), seen)
            if seen == self.batches or self._are_told_apart(alive):
                return alive + out
            half = max(self.keep, math.ceil(len(alive) / 2))
            alive, out = alive[:half], alive[half:] + out
            seen = min(2 * seen, self.batches)

    @property
    def racers(self) -> list[Racer]:
        """What is known of each, by their numbers."""
        numbers = range(len(self.losses))
        best = min(numbers, key=lambda c: (-len(self.losses[c]), np.mean(self.losses[c])))
        return [Racer(tuple(self.losses[c]), *self._difference(c, best)) for c in numbers]

    def _are_told_apart(self, alive: Sequence[int]) -> bool:
        if len(alive) > self.keep:
            return False
        # Of two batches the noise is hardly known: Student's t asks for 13 standard errors.
        needed = t.ppf(_SURE, max(1, len(self.losses[alive[0]]) - 1))
        return all(behind > needed * noise for behind, noise in (
            self._difference(other, alive[0]) for other in alive[1:]))

    def _difference(self, one: int, other: int) -> tuple[float, float]:
        differences = np.array([a - b for a, b in zip(self.losses[one], self.losses[other])])
        if not np.isfinite(differences).all():
            return math.inf, 0.0
        if one == other:
            return 0.0, 0.0
        count = len(differences)
        noise = differences.std(ddof=1) / math.sqrt(count) if count > 1 else math.inf
        return float(differences.mean()), float(noise)
