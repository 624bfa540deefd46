"""The ``gmacs_budget=dict(...)`` option: a wanted cost and the phases of a training."""

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class GMACsBudget:
    """A wanted cost, and when a training reaches it.

    1. Until ``begin`` (a share of the training) only the task loss acts.
    2. Until ``reach`` the wanted cost runs from the present one to the target, then stays.
    3. At ``settle`` the scales move along the cost's gradient to where the counted cost, rounded
       sizes included, is nearest to the target, and stay there while the weights go on.

    Attributes:
        target: wanted cost relative to the start, e.g. 0.6; or
        target_gmacs: wanted cost in 1e9 multiply-adds at the training crop.
        begin, reach, settle: shares of the training, ``0 <= begin < reach < settle < 1``.

    Raises:
        ValueError: an option is malformed.
    """

    target: float | None = None
    target_gmacs: float | None = None
    begin: float = 0.1
    reach: float = 0.5
    settle: float = 0.85

    def __post_init__(self):
        if (self.target is None) == (self.target_gmacs is None):
            raise ValueError('gmacs_budget takes either target (ratio to the start) or '
                             f'target_gmacs, got target={self.target!r}, '
                             f'target_gmacs={self.target_gmacs!r}')
        for name in ('target', 'target_gmacs'):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise ValueError(f'gmacs_budget {name} must be a positive number, got {value!r}')
        phases = (self.begin, self.reach, self.settle)
        if not all(map(_is_number, phases)) or not 0 <= self.begin < self.reach < self.settle < 1:
            raise ValueError('gmacs_budget needs 0 <= begin < reach < settle < 1, got '
                             '{!r}, {!r}, {!r}'.format(*phases))

    @classmethod
    def from_options(cls, options: dict) -> 'GMACsBudget':
        """The budget of a config's ``gmacs_budget=dict(...)``."""
        if not isinstance(options, dict):
            raise ValueError('gmacs_budget must be a dict such as dict(target=0.6), got '
                             f'{options!r}')
        names = [field.name for field in fields(cls)]
        unknown = sorted(set(options) - set(names))
        if unknown:
            raise ValueError(f'unknown gmacs_budget options {unknown}; there are {names}')
        return cls(**options)

    def wanted_gmacs(self, initial_gmacs: float) -> float:
        """The target in GMACs."""
        return self.target_gmacs or self.target * initial_gmacs

    def check_reachable(self, initial_gmacs: float, low: float, high: float) -> None:
        """Refuse a target outside of what the bounds of the scales allow.

        Raises:
            ValueError: with the reachable range.
        """
        wanted = self.wanted_gmacs(initial_gmacs)
        if not low <= wanted <= high:
            raise ValueError(
                f'gmacs_budget of {wanted:.4g} GMACs (ratio {wanted / initial_gmacs:.3f}) is out '
                f'of reach: the bounds of the scales allow {low:.4g} to {high:.4g} GMACs (ratio '
                f'{low / initial_gmacs:.3f} to {high / initial_gmacs:.3f}). Choose a target in '
                'this range, widen the bounds, or let the stem learn (dynopool.stem=True)')


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(
        value)
