"""The hook that makes a training meet a budget of time."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from mmseg.registry import HOOKS

from mmseg_dynopool.latency import LatencyModel, device_name, relative_times
from mmseg_dynopool.layers import unwrap

from .hook import BudgetHook
from .options import LatencyBudget
from .plant import Cost, PoolParameters

_CORRECTIONS = 2
_ENOUGH = 0.01


@HOOKS.register_module()
class LatencyBudgetHook(BudgetHook):
    """Makes a training end at the time of the model's ``latency_budget``.

    :class:`DynOPoolHook` brings it along where the model has one; see :class:`BudgetHook`. The
    cost is a :class:`LatencyModel`: read from the budget's file, or measured before the first
    step. Where the device is the one that was measured, the settled network is timed beside the
    network at its initial scales; where it misses the target, it settles again by that much
    further. The time is logged as ``latency_measured_ms``.

    Attributes:
        measured_ms: time of the settled network as measured; None before, and on another device
            than the latency model's.
    """

    kind = LatencyBudget

    def __init__(self):
        super().__init__()
        self.measured_ms: float | None = None

    def prepare(self, runner, state: dict) -> None:
        super().prepare(runner, state)
        model = unwrap(runner.model)
        self.measured_ms = state.get('measured_ms')
        if state:
            model.latency = LatencyModel.from_dict(state['latency'])
            return
        model.latency = _on_main_process(lambda: model.find_latency())
        median, largest = model.latency.errors
        print_log(f'latency model: {model.latency.start_ms:.4g} ms at the initial scales on '
                  f'{model.latency.device}; leave-one-out error {median:.1%}, at most '
                  f'{largest:.1%}', 'current')

    def cost(self, model) -> Cost:
        return model.latency.milliseconds

    def initial(self, model) -> float:
        return model.latency.start_ms

    def counter(self, model) -> Callable[[Mapping[str, Sequence[float]]], float]:
        return model.latency_counter()

    def state_dict(self, model) -> dict:
        return dict(super().state_dict(model), latency=model.latency.to_dict(),
                    measured_ms=self.measured_ms)

    def after_train_iter(self, runner, *args, **kwargs) -> None:
        super().after_train_iter(runner, *args, **kwargs)
        if self.measured_ms is not None:
            runner.message_hub.update_scalar('train/latency_measured_ms', self.measured_ms)

    def settle(self, model, parameters: PoolParameters, wanted: float) -> torch.Tensor:
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

    def _settle_by_time(self, model, parameters, wanted: float) -> tuple[torch.Tensor, float]:
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

    def _measure(self, model, parameters, values: torch.Tensor) -> float:
        """Milliseconds at ``values``, relative to those at the initial scales."""
        scales = {name: (1 / alpha).tolist() for name, alpha in parameters.alphas(values).items()}
        seconds = model.measure_latency([model.latency.initial_scales, scales])
        return self.initial(model) * float(relative_times(seconds)[1])


def _on_main_process(function: Callable[[], object]):
    """Its result in each process: times differ, and two at once would take each other's."""
    result = [function() if is_main_process() else None]
    broadcast_object_list(result)
    return result[0]
