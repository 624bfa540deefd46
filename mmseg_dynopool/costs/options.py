"""The cost of a training, from the options of a config."""

from collections.abc import Sequence
from typing import NamedTuple

from mmseg_dynopool.ops.size import is_number

from .budget import Budget
from .count import check_shape
from .milliseconds import LatencyBudget
from .multiply_adds import GMACsBudget


class CostOptions(NamedTuple):
    """The cost of a training.

    Attributes:
        weight: lambda, per 1e9 multiply-adds; None with a budget, or if there is no cost.
        budget: the wanted cost, or None.
        shape: input size ``(H, W)`` at which it counts; None for the training crop.
    """

    weight: float | None = None
    budget: Budget | None = None
    shape: tuple[int, ...] | None = None

    @classmethod
    def of(cls, gmacs_weight: float | None = None, gmacs_budget: dict | None = None,
           latency_budget: dict | None = None, budget: Budget | None = None,
           gmacs_shape: Sequence[int] | None = None) -> 'CostOptions':
        """From the options of a config, at most one of weight and budgets.

        Raises:
            ValueError: a value is malformed, or there are several.
        """
        steering = dict(gmacs_weight=gmacs_weight, gmacs_budget=gmacs_budget,
                        latency_budget=latency_budget, budget=budget)
        given = {name: value for name, value in steering.items() if value is not None}
        if len(given) > 1:
            raise ValueError(
                'give either ' + ' or '.join(f'{name} (got {value!r})'
                                             for name, value in given.items()) +
                f': one of them says what the network is to cost; {next(iter(given))}=None '
                'clears it')
        if gmacs_weight is not None and not (is_number(gmacs_weight) and gmacs_weight >= 0):
            raise ValueError(f'gmacs_weight must be a finite number >= 0, got {gmacs_weight!r}; '
                             '0 leaves the cost out of the loss')
        if gmacs_shape is not None:
            check_shape(gmacs_shape, 'gmacs_shape')
        if gmacs_budget is not None:
            budget = GMACsBudget.from_options(gmacs_budget)
        if latency_budget is not None:
            budget = LatencyBudget.from_options(latency_budget)
        if budget is not None and not isinstance(budget, Budget):
            raise ValueError('budget must be a Budget, such as dict(type=..., target=0.6) of a '
                             f'class that is registered as one, got {budget!r}')
        return cls(gmacs_weight, budget, tuple(gmacs_shape) if gmacs_shape else None)
