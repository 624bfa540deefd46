"""Programs that are timed side by side."""

import time

import pytest

from mmseg_dynopool.costs import time_alternately, timing


def test_programs_take_turns_after_a_warm_up():
    calls = []
    runs = {'slow': lambda: (calls.append('slow'), time.sleep(0.02)),
            'fast': lambda: (calls.append('fast'), time.sleep(0.005))}
    seconds = time_alternately(runs, 3, 'cpu')
    turns = [calls[i:i + 2] for i in range(0, len(calls), 2)]
    assert turns == [['fast', 'slow'], ['slow', 'fast']] * 2 + [['fast', 'slow']]
    assert [len(times) for times in seconds.values()] == [3, 3]
    assert min(seconds['slow']) >= 0.02 and min(seconds['fast']) >= 0.005
    assert sorted(seconds['fast'])[1] < 0.02


def test_the_warm_up_does_not_count():
    pauses = iter([0.1, 0.1, 0.0, 0.0])
    seconds = time_alternately({'x': lambda: time.sleep(next(pauses))}, 2, 'cpu')
    assert max(seconds['x']) < 0.1


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
