"""The multiplier of the cost, adapted while the network trains.

The paper steers the cost through a fixed lambda and names as its first limitation that the exact
target cannot be chosen. Here lambda is the Lagrange multiplier of "GMACs = target", moved by a
proportional-integral controller. Its gains follow from the optimizer's step size and the slope
of the cost, both known, so that they need no tuning by data set.
"""

import math

from .options import Budget


class BudgetController:
    """Moves the multiplier after each step of the optimizer. Numbers in, a number out.

    Args:
        budget: the wanted cost and the phases.

    Attributes:
        multiplier: current lambda, per unit of the cost; negative while the cost is below the
            target.
    """

    def __init__(self, budget: Budget):
        self.budget = budget
        self.multiplier = 0.0
        self._integral = 0.0
        self._start_cost = 0.0
        self._sensitivity = 0.0

    def state_dict(self) -> dict[str, float]:
        """What an exact resume needs."""
        return dict(multiplier=self.multiplier, integral=self._integral,
                    start_cost=self._start_cost, sensitivity=self._sensitivity)

    def load_state_dict(self, state: dict[str, float], sensitivity: float) -> None:
        """Go on where `state_dict` was taken.

        ``sensitivity`` stands for that of states before 0.3, which lack it.
        """
        self.multiplier = state['multiplier']
        self._integral = state['integral']
        self._start_cost = state['start_cost']
        self._sensitivity = state.get('sensitivity', sensitivity)

    def step(self, progress: float, iterations: int, cost: float, initial: float,
             response: float, inertia: float, normalized: bool = False,
             sensitivity: float = 1.0) -> None:
        """Adapt the multiplier after one training step.

        Args:
            progress: share of the training that is done.
            iterations: length of the training.
            cost: at the current scales, without rounding.
            initial: the cost at the start.
            response: by how much one step lowers ``log(cost)`` per unit of the multiplier.
            inertia: iterations that the optimizer's momentum averages over.
            normalized: whether the optimizer divides by the gradient's size. Then a lasting
                force has no lasting size, and the integral is left out.
            sensitivity: of the cost to steps of one size, in any unit.
        """
        begin, reach = self.budget.begin, self.budget.reach
        if progress < begin or response <= 0:
            return
        if self._start_cost == 0:
            self._start_cost = cost
        start = math.log(self._start_cost)
        log_ratio_to_target = math.log(self.budget.wanted(initial)) - start
        ramp_progress = (progress - begin) / (reach - begin)
        speed = log_ratio_to_target / ((reach - begin) * iterations) if ramp_progress < 1 else 0.0
        error = math.log(cost) - start - log_ratio_to_target * min(1.0, ramp_progress)
        error = max(-1.0, min(1.0, error))
        # Closed loop: the error decays over this many iterations. Slower than the momentum
        # answers, else the loop would ring.
        constant = max(0.02 * iterations, 3 * inertia, 2.0)
        proportional = error / (constant * response)
        # What the integral has learned is a push on log(cost). Where the cost has become more
        # sensitive, the same push takes less; else a network that grew would be pushed to grow.
        if self._sensitivity > 0:
            self._integral *= self._sensitivity / sensitivity
        self._sensitivity = sensitivity
        if not normalized:
            self._integral += proportional / (4 * constant)
        # What moves the cost at the wanted speed needs no error; the integral then learns the
        # task's own force alone.
        self.multiplier = self._integral + proportional - speed / response
