"""What the hooks of a budget ask of the network that is trained."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from mmengine.runner import Runner
from torch import nn

from mmseg_dynopool.complexity import ComplexityModel, GMACsCounter
from mmseg_dynopool.latency import LatencyModel
from mmseg_dynopool.latency.model import Scales
from mmseg_dynopool.layers import ResizingPool
from mmseg_dynopool.layers.find import unwrap

from .options import LatencyBudget


class Network(Protocol):
    """A segmentor or classifier with a cost in its loss; `mmseg_dynopool.models` has them."""

    cost: ComplexityModel | None
    cost_weight: float | None
    counted_shape: Sequence[int] | None
    latency: LatencyModel | None
    latency_budget: LatencyBudget | None

    def complexity(self, shape: Sequence[int] | None = None) -> ComplexityModel: ...
    def find_latency(self) -> LatencyModel: ...
    def gmacs_counter(self) -> GMACsCounter: ...
    def latency_counter(self) -> Callable[[Mapping[str, Sequence[float]]], float]: ...
    def measure_ms(self, scales: Scales) -> float: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def pools(self) -> dict[str, ResizingPool]: ...
    def prepare_cost(self, shape: Sequence[int] | None = None) -> None: ...


def trained_network(runner: Runner) -> Network:
    """The network that is trained; `BudgetHook.before_train` refuses one that has no budget."""
    return unwrap(runner.model)  # type: ignore[return-value]
