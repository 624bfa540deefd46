"""What a cost is: a function of a network's alphas, and a counter with rounded sizes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

Alphas = Mapping[str, Sequence[float]]


class LearnedMap(NamedTuple):
    """The output of a pooling, and how its size follows the scales.

    Attributes:
        pooling: its name.
        size: ``(H, W)`` at the initial scales, not rounded.
        exponents: ``{instance: (e_h, e_w)}``: the height goes with ``prod r_h ** e_h``.
    """

    pooling: str
    size: tuple[float, float]
    exponents: dict[str, tuple[float, float]]


class Cost(ABC):
    """What a network costs, as a function of its alphas.

    A kind of cost is a subclass, and a [`Budget`][mmseg_dynopool.costs.Budget] that makes it of a
    network.

    Attributes:
        name: of the kind, as in ``gmacs_budget`` and in logs (``gmacs_ratio``).
        scalar: under which it is logged.
        unit: its unit, in messages.
        shape: input size ``(H, W)`` in pixels at which it counts.

    Examples:
        >>> from mmseg_dynopool.costs import ComplexityModel, Cost, LatencyCost
        >>> [(kind.name, kind.scalar, kind.unit) for kind in (ComplexityModel, LatencyCost)]
        [('gmacs', 'gmacs', 'GMACs'), ('latency', 'latency_ms', 'ms')]
    """

    name: ClassVar[str]
    scalar: ClassVar[str]
    unit: ClassVar[str]
    shape: Sequence[int]

    @property
    @abstractmethod
    def initial(self) -> float:
        """The cost at the initial scales, those of the config."""

    @abstractmethod
    def __call__(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """The cost at alphas, sizes not rounded: a float64 scalar, differentiable in them.

        Args:
            alphas: ``{instance: tensor (alpha_h, alpha_w)}``, all on one device.
        """

    @abstractmethod
    def counted(self, model: nn.Module) -> Callable[[Alphas], float]:
        """A function that tells the cost of ``model`` at alphas as numbers, sizes rounded."""

    def measured(self, model: nn.Module, alphas: Alphas) -> float | None:
        """The cost of ``model`` in truth, where a count is an estimate; else None."""
        return None

    def maps(self) -> list[LearnedMap]:
        """The outputs of the poolings at `shape`, where they are known."""
        return []

    @property
    def is_doubtful(self) -> bool:
        """Whether `describe` warns of the cost."""
        return False

    def describe(self) -> str:
        """The cost at the initial scales in a line, for logs."""
        return f'{self.initial:.4g} {self.unit} at the initial scales'

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to have the same cost; `Budget.cost` takes it."""
        return {}
