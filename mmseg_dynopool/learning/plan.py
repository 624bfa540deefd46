"""What a network is to cost, and how far its scales move, over a training."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The wanted cost at each moment of a training.

    Attributes:
        start: cost at which the training began.
        target: cost at which it ends.
        begin, reach, settle: phases, as in `Budget`.
    """

    start: float
    target: float
    begin: float = 0.1
    reach: float = 0.5
    settle: float = 0.85

    def wanted(self, progress: float) -> float:
        """The cost after a share ``progress`` of the training; even in its logarithm."""
        ramp = min(1.0, max(0.0, (progress - self.begin) / (self.reach - self.begin)))
        return math.exp((1 - ramp) * math.log(self.start) + ramp * math.log(self.target))


def step_weights(steps: int, every: int, settle: float) -> dict[int, float]:
    """Shares of the travel that go to each step, which sum to 1: those of a poly schedule.

    Args:
        steps: length of the training.
        every: steps from one estimate to the next.
        settle: share of the training after which the scales stay.
    """
    weights = {step: (1 - step / steps)**0.9
               for step in range(every, steps, every) if step < settle * steps}
    total = sum(weights.values())
    return {step: weight / total for step, weight in weights.items()}
