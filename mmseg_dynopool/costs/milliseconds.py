"""The cost in milliseconds: a latency model of a network, and a budget of its time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from .budget import Budget
from .cost import Alphas, Cost, LearnedMap
from .count import check_shape
from .latency_fit import fit_latency, measure_again
from .latency_model import LatencyModel
from .main_process import on_each_process, on_main_process
from .multiply_adds import ComplexityModel, probe_complexity
from .timing import device_name

_POOR = 0.1


class LatencyCost(Cost):
    """Milliseconds of one forward pass, by a [`LatencyModel`][mmseg_dynopool.costs.LatencyModel].

    On the device that was measured, the settled network itself is timed.

    Args:
        found: the latency model.
        complexity: the network's multiply-adds at the same shape.
        source: file and shape of the model, for a run that is resumed.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from mmseg_dynopool.costs import LatencyCost, fit_latency, probe_complexity
        >>> from mmseg_dynopool.layers import DynOPool
        >>> network = nn.Sequential(DynOPool(0.5), nn.Conv2d(3, 8, 3, padding=1))
        >>> found = fit_latency(network, (64, 64), repeats=2)
        >>> cost = LatencyCost(found, probe_complexity(network, (64, 64)))
        >>> bool(cost({'0': torch.tensor([4.0, 4.0])}) < cost({'0': torch.tensor([2.0, 2.0])}))
        True
    """

    name: ClassVar[str] = 'latency'
    scalar: ClassVar[str] = 'latency_ms'
    unit: ClassVar[str] = 'ms'

    def __init__(self, found: LatencyModel, complexity: ComplexityModel,
                 source: Sequence[Any] = ()):
        self.complexity = complexity
        self.found = found.told_from(complexity)
        self.shape = found.shape
        self.source = list(source)

    @property
    def initial(self) -> float:
        return self.found.initial_ms

    def __call__(self, alphas: Mapping[str, Tensor]) -> Tensor:
        return self.found.milliseconds(alphas)

    def counted(self, model: nn.Module) -> Callable[[Alphas], float]:
        return self.found.counted(model, self.complexity)

    def measured(self, model: nn.Module, alphas: Alphas) -> float | None:
        scales = {name: [1 / a for a in alpha] for name, alpha in alphas.items()}

        def milliseconds() -> float | None:
            if device_name(next(model.parameters()).device) != self.found.device:
                return None
            return measure_again(self.found, model, scales, self.complexity.in_channels,
                                 self.complexity.forward)[0]

        return on_main_process(milliseconds)

    def maps(self) -> list[LearnedMap]:
        return self.complexity.maps()

    @property
    def is_doubtful(self) -> bool:
        return self.found.errors[0] > _POOR

    def describe(self) -> str:
        median, largest = self.found.errors
        poor = ('. The latency model is poor: measure on a machine that does nothing else, or with '
                'a larger input' if self.is_doubtful else '')
        return (f'latency model: {super().describe()} on {self.found.device}; leave-one-out error '
                f'{median:.1%}, at most {largest:.1%}{poor}')

    def state_dict(self) -> dict[str, Any]:
        return dict(latency=self.found.to_dict(), source=self.source)


@dataclass(frozen=True, kw_only=True)
class LatencyBudget(Budget):
    """A budget of time for one image's forward pass, ``latency_budget=dict(...)``.

    Attributes:
        target_ms: wanted time in milliseconds.
        model: file that ``tools/latency.py`` wrote, on any machine; default: the network is
            measured where it is trained, before the first step.
        shape: input size ``(H, W)`` that is timed; default: the training crop. A file has its own.

    Raises:
        ValueError: an option is malformed.

    Examples:
        >>> from mmseg_dynopool.costs import LatencyBudget
        >>> budget = LatencyBudget(target=0.7, shape=(512, 1024))
        >>> budget.wanted(initial=40.0)
        28.0
    """

    cost_type: ClassVar[type[Cost]] = LatencyCost

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

    def cost(self, model: nn.Module, shape: Sequence[int], in_channels: int = 3,
             forward: Callable | None = None, state: dict[str, Any] | None = None) -> LatencyCost:
        """The time of a network: by the file, or measured on its device.

        In a distributed training the first process reads or measures for all.
        """
        # A run that is resumed with another file or shape does not use the saved model.
        source = [self.model, None if self.shape is None else list(self.shape)]
        timed = tuple(self.shape or shape)

        def find() -> LatencyModel:
            if state and state.get('source') == source:
                return LatencyModel.from_dict(state['latency'])
            if self.model is None:
                return fit_latency(model, timed, in_channels, forward)
            found = LatencyModel.load(self.model)
            if self.shape is not None and timed != found.shape:
                raise ValueError(f'latency_budget shape={timed}, but the model '
                                 f'{self.model!r} was measured at {found.shape}; leave shape out, '
                                 'or measure at this one with tools/latency.py')
            return found

        found = on_main_process(find)
        return on_each_process(lambda: LatencyCost(
            found, probe_complexity(model, found.shape, in_channels, forward), source))
