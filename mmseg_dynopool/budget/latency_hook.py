"""The hook that makes a training meet a budget of time."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_dynopool.latency import LatencyModel, device_name

from .hook import BudgetHook
from .network import Network, trained_network
from .options import LatencyBudget
from .plant import Cost, PoolParameters

_Result = TypeVar('_Result')
_CORRECTIONS = 2
_ENOUGH = 0.01
_POOR = 0.1


@HOOKS.register_module()
class LatencyBudgetHook(BudgetHook):
    """Makes a training end at the time of the model's ``latency_budget``.

    [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] brings it along where the model has one;
    see `BudgetHook`. The cost is a
    [`LatencyModel`][mmseg_dynopool.latency.LatencyModel]: read from the budget's file, or measured
    before the first step; a run that is resumed goes on with it, unless it names another file or
    shape. Where the device is the one that was measured, the settled network is timed beside the
    network at the scales that were timed then; where it misses the target, it settles again by
    that much further. The time is logged as ``latency_measured_ms``.

    Attributes:
        measured_ms: time of the settled network as measured; None before, and on another device
            than the latency model's.

    Raises:
        ValueError: the model has no budget, it is out of reach, or its file does not fit.

    Examples:
        >>> from mmseg.registry import HOOKS
        >>> import mmseg_dynopool
        >>> custom_hooks = [dict(type='LatencyBudgetHook')]  # beside model.latency_budget
        >>> hook = HOOKS.build(custom_hooks[0])
        >>> hook.kind.option, hook.kind.unit
        ('latency_budget', 'ms')
    """

    kind = LatencyBudget

    def __init__(self) -> None:
        super().__init__()
        self.measured_ms: float | None = None

    def prepare(self, runner: Runner, state: dict) -> None:
        model = trained_network(runner)
        assert model.latency_budget is not None  # which before_train has asked for
        self.measured_ms = state.get('measured_ms')
        if state.get('source') == _source(model.latency_budget):
            found = LatencyModel.from_dict(state['latency'])
            model.latency = found.at_scales_of(model.complexity(found.shape))
        else:
            model.latency = _on_main_process(model.find_latency)
            _tell(model.latency)
        model.prepare_cost(model.counted_shape or model.latency.shape)

    def cost(self, model: Network) -> Cost:
        assert model.latency is not None  # since prepare
        return model.latency.milliseconds

    def initial(self, model: Network) -> float:
        assert model.latency is not None
        return model.latency.initial_ms

    def counter(self, model: Network) -> Callable[[Mapping[str, Sequence[float]]], float]:
        return model.latency_counter()

    def state_dict(self, model: Network) -> dict:
        assert model.latency is not None and model.latency_budget is not None
        return dict(super().state_dict(model), latency=model.latency.to_dict(),
                    source=_source(model.latency_budget), measured_ms=self.measured_ms)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        super().after_train_iter(runner, *args, **kwargs)
        if self.measured_ms is not None:
            runner.message_hub.update_scalar('train/latency_measured_ms', self.measured_ms)

    def settle(self, model: Network, parameters: PoolParameters, wanted: float
               ) -> torch.Tensor:
        assert model.latency is not None
        here = device_name(next(model.parameters()).device)
        if here != model.latency.device:
            print_log(f'settled by the latency model alone: it is of {model.latency.device}, this '
                      f'is {here}', 'current')
            return super().settle(model, parameters, wanted)
        values, self.measured_ms = _on_main_process(
            lambda: self._settle_by_time(model, parameters, wanted))
        print_log(f'settled at {self.measured_ms:.4g} ms as measured, wanted {wanted:.4g} ms',
                  'current')
        return values

    def _settle_by_time(self, model: Network, parameters: PoolParameters, wanted: float
                        ) -> tuple[torch.Tensor, float]:
        """Settle, and again by as much further as the measured time misses the target."""
        found, aim = [], wanted
        for _ in range(1 + _CORRECTIONS):
            values = super().settle(model, parameters, aim)
            ms = self._measure(model, parameters, values)
            found.append((abs(math.log(ms / wanted)), values, ms))
            if found[-1][0] < _ENOUGH:
                break
            aim *= wanted / ms
        return min(found, key=lambda entry: entry[0])[1:]

    def _measure(self, model: Network, parameters: PoolParameters, values: torch.Tensor
                 ) -> float:
        """Milliseconds at ``values``."""
        return model.measure_ms({name: (1 / alpha).tolist()
                                 for name, alpha in parameters.alphas(values).items()})


def _source(budget: LatencyBudget) -> list:
    """Where the latency model comes from; a run that is resumed with another looks there."""
    return [budget.model, None if budget.shape is None else list(budget.shape)]


def _tell(found: LatencyModel) -> None:
    median, largest = found.errors
    print_log(f'latency model: {found.initial_ms:.4g} ms at the initial scales on {found.device}; '
              f'leave-one-out error {median:.1%}, at most {largest:.1%}', 'current')
    if median > _POOR:
        print_log('the latency model is poor: measure on a machine that does nothing else, or '
                  'with a larger input', 'current', logging.WARNING)


def _on_main_process(function: Callable[[], _Result]) -> _Result:
    """Its result in each process: times differ, and two at once would take each other's."""
    result: list[Any] = [function() if is_main_process() else None]
    broadcast_object_list(result)
    return result[0]
