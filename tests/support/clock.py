"""A clock that moves by what poolings put out, so that times are known."""

from mmseg_dynopool.costs import timing
from mmseg_dynopool.layers import FixedDynOPool


class Clock:
    """Stands for the clock of `time_alternately` while networks with fixed scales run.

    A pass takes ``constant`` and, for each value that a pooling puts out, ``per_value``; where
    ``step`` is given, it returns a factor of a pooling's time from its output's size. Each pass
    takes ``drift`` longer than the one before.
    """

    def __init__(self, monkeypatch, constant=0.1, per_value=1e-5, drift=0.0, step=None):
        self.now = 0.0
        self.slower = 1.0
        self.ticks = 0
        self.constant, self.per_value, self.drift = constant, per_value, drift
        self.step = step or (lambda size: 1.0)
        real = FixedDynOPool.forward

        def forward(pool, input, *args, **kwargs):
            output = real(pool, input, *args, **kwargs)
            if output.device.type != 'meta':
                self.now += self.slower * self.per_value * output.numel() * self.step(
                    output.shape[2:])
            return output

        monkeypatch.setattr(FixedDynOPool, 'forward', forward)
        monkeypatch.setattr(timing.time, 'perf_counter', self.read)

    def read(self):
        """Every second reading ends a pass."""
        self.ticks += 1
        if self.ticks % 2 == 0:
            self.now += self.slower * self.constant
            self.slower *= 1 + self.drift
        return self.now
