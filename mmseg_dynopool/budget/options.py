"""The options of a budget: what a network may cost at its end, and the phases of a training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, TypeVar

from mmseg_dynopool.complexity.count import check_shape

_Kind = TypeVar('_Kind', bound='Budget')


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A wanted cost, and when a training reaches it.

    1. Until ``begin`` (a share of the training) only the task loss acts.
    2. Until ``reach`` the wanted cost runs from the present one to the target, then stays.
    3. At ``settle`` the scales move along the cost's gradient to where the counted cost, rounded
       sizes included, is nearest to the target, and stay there while the weights go on.

    A subclass says in which unit the cost is.

    Attributes:
        target: wanted cost relative to the start, e.g. 0.6.
        begin: share of the training after which the cost is steered, from 0 on.
        reach: share after which it is to be at the target, above ``begin``.
        settle: share after which the scales stay, above ``reach`` and below 1.
        option: name of the model's option.
        absolute: the field that gives the target in the unit, in the place of ``target``.
        unit: of the cost.

    Raises:
        ValueError: an option is malformed.
    """

    option: ClassVar[str]
    absolute: ClassVar[str]
    unit: ClassVar[str]

    target: float | None = None
    begin: float = 0.1
    reach: float = 0.5
    settle: float = 0.85

    def __post_init__(self) -> None:
        targets = {name: getattr(self, name) for name in ('target', self.absolute)}
        if list(targets.values()).count(None) != 1:
            raise ValueError(
                f'{self.option} takes either target (ratio to the start) or {self.absolute}, got '
                + ', '.join(f'{name}={value!r}' for name, value in targets.items()))
        for name, value in targets.items():
            if value is not None and not (_is_number(value) and value > 0):
                raise ValueError(f'{self.option} {name} must be a positive number, got {value!r}')
        phases = (self.begin, self.reach, self.settle)
        if not all(map(_is_number, phases)) or not 0 <= self.begin < self.reach < self.settle < 1:
            raise ValueError(f'{self.option} needs 0 <= begin < reach < settle < 1, got '
                             '{!r}, {!r}, {!r}'.format(*phases))

    @classmethod
    def from_options(cls: type[_Kind], options: dict) -> _Kind:
        """The budget of a config's ``dict(...)``.

        Raises:
            ValueError: an option is unknown or malformed.
        """
        if not isinstance(options, dict):
            raise ValueError(f'{cls.option} must be a dict such as dict(target=0.6), got '
                             f'{options!r}')
        names = [field.name for field in fields(cls)]
        unknown = sorted(set(options) - set(names))
        if unknown:
            raise ValueError(f'unknown {cls.option} options {unknown}; there are {names}')
        return cls(**options)

    def wanted(self, initial: float) -> float:
        """The target in the cost's unit, where ``initial`` is the cost at the start."""
        return getattr(self, self.absolute) if self.target is None else self.target * initial

    def check_reachable(self, initial: float, low: float, high: float) -> None:
        """Refuse a target outside of what the bounds of the scales allow.

        Args:
            initial: cost at the start, in the cost's unit as the others.
            low: lowest cost that the bounds allow.
            high: highest cost that they allow.

        Raises:
            ValueError: with the reachable range.
        """
        wanted = self.wanted(initial)
        if not low <= wanted <= high:
            raise ValueError(
                f'{self.option} of {wanted:.4g} {self.unit} (ratio {wanted / initial:.3f}) is out '
                f'of reach: the bounds of the scales allow {low:.4g} to {high:.4g} {self.unit} '
                f'(ratio {low / initial:.3f} to {high / initial:.3f}). Choose a target in this '
                'range, widen the bounds, or let an HRNet\'s stem learn, too '
                '(backbone.dynopool.stem=True)')


@dataclass(frozen=True, kw_only=True)
class GMACsBudget(Budget):
    """A budget of multiply-adds, ``gmacs_budget=dict(...)``.

    Attributes:
        target_gmacs: wanted cost in 1e9 multiply-adds at the training crop.

    Raises:
        ValueError: an option is malformed.

    Examples:
        >>> from mmseg_dynopool.budget import GMACsBudget
        >>> GMACsBudget(target=0.6).wanted(initial=150.0)  # GMACs of the stock network
        90.0
        >>> GMACsBudget(target_gmacs=100.0).wanted(initial=150.0)
        100.0
    """

    option: ClassVar[str] = 'gmacs_budget'
    absolute: ClassVar[str] = 'target_gmacs'
    unit: ClassVar[str] = 'GMACs'

    target_gmacs: float | None = None


@dataclass(frozen=True, kw_only=True)
class LatencyBudget(Budget):
    """A budget of time, ``latency_budget=dict(...)``: of one image's forward pass.

    Attributes:
        target_ms: wanted time in milliseconds.
        model: file that ``tools/latency.py`` wrote, on any machine; default: the network is
            measured where it is trained, before the first step.
        shape: input size ``(H, W)`` that is timed; default: the training crop. A file has its own.

    Raises:
        ValueError: an option is malformed.

    Examples:
        >>> from mmseg_dynopool.budget import LatencyBudget
        >>> budget = LatencyBudget(target=0.7, shape=(512, 1024))
        >>> budget.wanted(initial=40.0), budget.unit
        (28.0, 'ms')
    """

    option: ClassVar[str] = 'latency_budget'
    absolute: ClassVar[str] = 'target_ms'
    unit: ClassVar[str] = 'ms'

    target_ms: float | None = None
    model: str | None = None
    shape: Sequence[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model is not None and not isinstance(self.model, str):
            raise ValueError('latency_budget model must be the path of a file that '
                             f'tools/latency.py wrote, got {self.model!r}')
        if self.shape is not None:
            check_shape(self.shape, 'latency_budget shape')


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(
        value)
