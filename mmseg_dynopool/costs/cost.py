"""What a cost is: a function of a network's alphas, and a counter with rounded sizes."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
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

    Each kind is a subclass, and has a [`Budget`][mmseg_dynopool.costs.Budget] that makes it for a
    network.

    Attributes:
        name: of the kind, as in ``gmacs_budget`` and in logs (``gmacs_ratio``).
        scalar: the name under which it is logged.
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
        """The measured cost of ``model``, if a count is only an estimate; else None."""
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


class Posynomial:
    """A sum of products of powers of the scales, ``sum_t c_t * prod_i (r_i / r_i0) ** e_ti``.

    Its logarithm is convex in the logarithms of the scales.

    Args:
        initial_scales: ``{instance: (scale_h, scale_w)}``, the ``r_i0``.
        coefficients: ``{exponents: c_t}``; the exponents are one tuple of numbers, those of
            height and width of each instance in turn.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.costs import Posynomial
        >>> terms = Posynomial({'stride2': (0.5, 0.5)}, {(1.0, 1.0): 8.0, (0.0, 0.0): 2.0})
        >>> terms.parts({'stride2': torch.tensor([2.0, 4.0])})
        tensor([4., 2.], dtype=torch.float64)
    """

    def __init__(self, initial_scales: Mapping[str, Sequence[float]],
                 coefficients: Mapping[tuple[float, ...], float]):
        self.initial_scales = {name: tuple(pair) for name, pair in initial_scales.items()}
        self.coefficients = dict(coefficients)
        self._coefficients = torch.tensor(list(self.coefficients.values()), dtype=torch.float64)
        self._exponents = torch.tensor(list(self.coefficients), dtype=torch.float64)
        self._log_initial = torch.tensor(
            [math.log(s) for pair in self.initial_scales.values() for s in pair],
            dtype=torch.float64)

    @property
    def initial(self) -> float:
        """The sum at the initial scales."""
        return float(self._coefficients.sum())

    def parts(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """Its terms at ``{instance: alpha (2,)}``: float64, one per coefficient, differentiable."""
        stacked = torch.cat([alphas[name] for name in self.initial_scales]).double()
        coefficients, exponents, log_initial = (
            tensor.to(stacked.device, non_blocking=True)
            for tensor in (self._coefficients, self._exponents, self._log_initial))
        return coefficients * (exponents @ (-stacked.log() - log_initial)).exp()
