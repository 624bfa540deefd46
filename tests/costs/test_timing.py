"""Programs that are timed side by side."""

import time

import pytest

from mmseg_dynopool.costs import time_alternately, timing


@pytest.fixture
def spend(monkeypatch):
    """A clock that stands still, and a program's time by it."""
    now = [0.0]
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: now[0])

    def spend(seconds):
        now[0] += seconds

    return spend


def test_programs_take_turns_after_a_warm_up(spend):
    calls = []
    runs = {'slow': lambda: (calls.append('slow'), spend(2.0)),
            'fast': lambda: (calls.append('fast'), spend(0.5))}
    assert time_alternately(runs, 3, 'cpu') == dict(slow=[2.0] * 3, fast=[0.5] * 3)
    turns = [calls[i:i + 2] for i in range(0, len(calls), 2)]
    assert turns == [['fast', 'slow'], ['slow', 'fast']] * 2 + [['fast', 'slow']]


def test_the_warm_up_does_not_count(spend):
    pauses = iter([8.0, 8.0, 0.0, 1.0])
    assert time_alternately({'x': lambda: spend(next(pauses))}, 2, 'cpu') == dict(x=[0.0, 1.0])


def test_it_is_the_machine_s_clock():
    seconds, = time_alternately({'x': lambda: time.sleep(0.02)}, 1, 'cpu', warm_up=0)['x']
    assert seconds >= 0.02


def test_what_prepares_a_program_is_not_timed(monkeypatch):
    events, now = [], [0.0]

    def take(seconds, event):
        events.append(event)
        now[0] += seconds
        return now[0]

    monkeypatch.setattr(timing, '_synchronize', lambda device: take(0.25, 'wait'))
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: take(0.0, 'clock'))
    runs = {'x': lambda: take(1.0, 'x'), 'y': lambda: take(2.0, 'y')}
    seconds = time_alternately(runs, 2, 'cpu', warm_up=0,
                               prepare=lambda name: take(100.0, f'prepare {name}'))
    assert seconds == {'x': [1.25, 1.25], 'y': [2.25, 2.25]}  # with the wait behind
    assert events[:6] == ['prepare y', 'wait', 'clock', 'y', 'wait', 'clock']
    assert [e for e in events if 'prepare' in e] == [f'prepare {name}' for name in 'yxxy']


def test_repeats_are_checked():
    with pytest.raises(ValueError, match='repeats must be at least 1, got 0'):
        time_alternately({}, 0, 'cpu')
