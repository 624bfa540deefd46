"""The options of a budget: what a network may cost at its end, and the phases of a training."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, TypeVar

from torch import nn

from mmseg_dynopool.ops.size import is_number

from .cost import Cost

_Kind = TypeVar('_Kind', bound='Budget')
_NEAR = 0.02  # of log(cost)


class Outcome(NamedTuple):
    """What a network costs, sizes rounded, beside its budget and its initial scales' cost."""

    cost: float
    wanted: float
    initial: float
    unit: str

    @property
    def is_met(self) -> bool:
        """Whether the cost is the wanted one, up to the rounding of sizes."""
        return abs(math.log(self.cost / self.wanted)) <= _NEAR

    def __str__(self) -> str:
        cost, wanted = (f'{value:.4g} {self.unit} ({value / self.initial:.3f} of the cost at the '
                        "config's initial scales)" for value in (self.cost, self.wanted))
        return f'the network costs {cost}, and its budget is {wanted}'


@dataclass(frozen=True, kw_only=True)
class Budget(ABC):
    """A wanted cost, and when a training reaches it.

    A subclass names its ``cost_type``, and has a field ``target_<unit>``, the cost in that unit.

    Attributes:
        target: wanted cost relative to that at the config's initial scales, e.g. 0.6, whatever
            scales a run loads: a network trained to 0.6 and fine-tuned with 0.6 keeps its cost.
        begin: share of the training until which the scales keep the cost with which it began.
        reach: share until which the cost runs to the target, evenly in its logarithm.
        settle: share at which the scales move to where the counted cost, rounded sizes included,
            is nearest to the target, and stay there.
        cost_type: the kind of cost.

    Raises:
        ValueError: an option is malformed.

    Examples:
        >>> from mmseg_dynopool.costs import Budget, GMACsBudget
        >>> budget: Budget = GMACsBudget.from_options(dict(target=0.6, reach=0.3))
        >>> budget.option, budget.wanted(initial=150.0)  # GMACs
        ('gmacs_budget', 90.0)
    """

    cost_type: ClassVar[type[Cost]]
    option: ClassVar[str]  # under which a config gives it
    absolute: ClassVar[str]  # the field of the target in the cost's unit

    target: float | None = None
    begin: float = 0.1
    reach: float = 0.5
    settle: float = 0.85

    def __init_subclass__(cls) -> None:
        if hasattr(cls, 'cost_type'):
            cls.option = f'{cls.cost_type.name}_budget'
            cls.absolute = f'target_{cls.cost_type.unit.lower()}'

    def __post_init__(self) -> None:
        targets = {name: getattr(self, name) for name in ('target', self.absolute)}
        if list(targets.values()).count(None) != 1:
            raise ValueError(
                f'{self.option} takes either target (relative to the initial scales) or '
                f'{self.absolute}, got '
                + ', '.join(f'{name}={value!r}' for name, value in targets.items()))
        for name, value in targets.items():
            if value is not None and not (is_number(value) and value > 0):
                raise ValueError(f'{self.option} {name} must be a positive number, got {value!r}')
        check_phases(self.begin, self.reach, self.settle, self.option)

    @classmethod
    def from_options(cls: type[_Kind], options: dict) -> _Kind:
        """The budget of a config's ``dict(...)``; a ValueError for unknown or malformed options."""
        if not isinstance(options, dict):
            raise ValueError(f'{cls.option} must be a dict such as dict(target=0.6), '
                             f'got {options!r}')
        names = [field.name for field in fields(cls)]
        unknown = sorted(set(options) - set(names))
        if unknown:
            raise ValueError(f'unknown {cls.option} options {unknown}; there are {names}')
        return cls(**options)

    @abstractmethod
    def cost(self, model: nn.Module, shape: Sequence[int], in_channels: int = 3,
             forward: Callable | None = None, state: dict[str, Any] | None = None) -> Cost:
        """The cost of a network; ``state`` is the `Cost.state_dict` of a run that is resumed.

        The other arguments are [`probe_complexity`][mmseg_dynopool.costs.probe_complexity]'s.
        """

    def wanted(self, initial: float) -> float:
        """The target in the cost's unit, of a network with that ``initial`` cost."""
        return getattr(self, self.absolute) if self.target is None else self.target * initial


def check_phases(begin: float, reach: float, settle: float, name: str = 'a budget') -> None:
    """Raise a ValueError unless the phases of a training are shares of it, and in order."""
    phases = (begin, reach, settle)
    if not all(map(is_number, phases)) or not 0 <= begin < reach < settle < 1:
        raise ValueError(f'{name} needs 0 <= begin < reach < settle < 1, got '
                         '{!r}, {!r}, {!r}'.format(*phases))
