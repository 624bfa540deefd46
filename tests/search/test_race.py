"""Races whose winners are known."""

import numpy as np
import pytest

from mmseg_dynopool.search import Race


def noisy(means, common=1.0, own=0.05, seed=0):
    """Losses whose noise is mostly the batch's, the same for all."""
    draw = np.random.default_rng(seed)
    batch = common * draw.standard_normal(64)
    rest = own * draw.standard_normal((len(means), 64))
    return lambda candidate, number: means[candidate] + batch[number] + rest[candidate, number]


def test_the_best_wins_by_differences_on_the_same_batches():
    """The batches differ by twenty times what the candidates do."""
    means = np.linspace(0, 0.6, 13)[[5, 0, 9, 12, 1, 7, 2, 11, 3, 10, 4, 8, 6]]
    race = Race(noisy(means), len(means), 16)
    order = race.run()
    assert order[0] == 1 and {1, 4, 6} >= set(order[:2])
    # Half of 13 saw two batches alone, three of the rest four or more.
    seen = [len(racer.losses) for racer in race.racers]
    assert sorted(seen)[:6] == [2] * 6 and sum(seen) < 13 * 16 / 2
    assert [len(race.losses[c]) for c in order] == sorted(seen, reverse=True)
    best = race.racers[1]
    assert (best.behind, best.noise) == (0, 0) and best.mean == pytest.approx(
        np.mean(best.losses))


def test_it_goes_on_while_the_best_are_not_told_apart_and_ends_with_the_batches():
    alike, apart = (Race(noisy(means), 3, 32) for means in ([0, 0.001, 0.002], [0, 9, 18]))
    alike.run(), apart.run()
    assert {len(racer.losses) for racer in alike.racers} == {32}
    assert {len(racer.losses) for racer in apart.racers} == {2}
    last = max(alike.racers, key=lambda racer: racer.mean)
    assert 0 < last.behind < 4 * last.noise < 0.1


@pytest.mark.parametrize('loss', [float('nan'), float('inf')])
def test_what_diverges_comes_last(loss):
    race = Race(lambda c, b: loss if c == 0 else float(c + b), 6, 8)
    assert race.run() == [1, 2, 3, 4, 5, 0]
    assert race.racers[0].behind == np.inf
    assert Race(lambda c, b: loss, 3, 2).run() == [0, 1, 2]


def test_little_to_race_with():
    assert Race(lambda c, b: 0.0, 1, 1).run() == [0]
    assert Race(lambda c, b: -c, 5, 1).run() == [4, 3, 2, 1, 0]
    for numbers in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match='needs candidates and batches'):
            Race(lambda c, b: 0.0, *numbers)
