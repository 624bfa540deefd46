"""The hook that makes a training meet its budget."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from .controller import BudgetController
from .network import Network, trained_network
from .options import Budget, GMACsBudget
from .plant import Cost, PoolParameters
from .settle import settle


class BudgetHook(Hook):
    """Adapts the weight of a cost in the loss so that a network ends at its budget.

    It reads the budget from the model's option, sets the model's ``cost_weight`` before every
    step, and keeps its own state in checkpoints, under the option's name. The phases are shares
    of the training's length: a run that is resumed with another ``max_iters`` goes on in the phase
    of the new length, a settled one stays settled.

    Once the budget has settled, each ``EMAHook`` averages with the settled scales: the averaged
    network meets the budget, too.

    A subclass says what the cost is.

    Attributes:
        kind: the class of the budget.
        controller: moves the multiplier.
        settled: the settled parameters ``(n,)`` of the poolings, or None before.

    Raises:
        ValueError: the model has no budget, or it is out of reach.
    """

    priority = 41  # after DynOPoolHook (40), before moving averages (50) and checkpoints
    kind: type[Budget]

    def __init__(self) -> None:
        self.controller: BudgetController | None = None
        self.settled: torch.Tensor | None = None
        self._loaded: dict | None = None

    @abstractmethod
    def cost(self, model: Network) -> Cost:
        """The cost as a function of the alphas."""

    @abstractmethod
    def initial(self, model: Network) -> float:
        """The cost at the initial scales."""

    @abstractmethod
    def counter(self, model: Network) -> Callable[[Mapping[str, Sequence[float]]], float]:
        """The cost as a function of alphas as numbers, sizes rounded."""

    def prepare(self, runner: Runner, state: dict) -> None:
        """Make the cost known, before the first step; ``state`` is that of a resumed run."""
        trained_network(runner).prepare_cost()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._loaded = checkpoint.get(self.kind.option)

    def before_train(self, runner: Runner) -> None:
        model, option = trained_network(runner), self.kind.option
        budget = getattr(model, option, None)
        if budget is None:
            raise ValueError(f'{type(self).__name__}: the model has no budget; set '
                             f'model.{option}=dict(target=0.6), or remove the hook')
        # load_from starts another run
        state = (self._loaded or {}) if runner.iter > 0 else {}
        self.prepare(runner, state)
        parameters = PoolParameters(model.pools())
        budget.check_reachable(self.initial(model), *parameters.reachable(self.cost(model)))
        self.controller, self.settled = BudgetController(budget), None
        if state:
            self.controller.load_state_dict(state, parameters.sensitivity(self.cost(model)))
            self.settled = state['settled']
        model.cost_weight = self.controller.multiplier

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self.controller is not None:
            checkpoint[self.kind.option] = self.state_dict(trained_network(runner))

    def state_dict(self, model: Network) -> dict:
        """What an exact resume needs."""
        assert self.controller is not None  # since before_train
        return dict(self.controller.state_dict(), settled=self.settled)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        # While gradients accumulate no alpha moves: time counts in the optimizer's steps.
        if runner.optim_wrapper.should_update():
            every = runner.optim_wrapper._accumulative_counts
            self.step(trained_network(runner), runner.optim_wrapper.optimizer,
                      -(-(runner.iter + 1) // every), -(-runner.max_iters // every))
        if self.settled is not None:
            self._settle_averages(runner)

    def step(self, model: Network, optimizer: torch.optim.Optimizer, done: int,
             iterations: int) -> None:
        """Adapt the weight, or keep the settled scales.

        Args:
            model: a network with a budget, after a step of ``optimizer``.
            optimizer: it holds the poolings' parameters.
            done: steps of the optimizer so far.
            iterations: steps of the whole training.
        """
        assert self.controller is not None  # since before_train
        budget, parameters = self.controller.budget, PoolParameters(model.pools())
        initial = self.initial(model)
        wanted = budget.wanted(initial)
        if self.settled is None and done < budget.settle * iterations:
            response = parameters.response(self.cost(model), wanted, optimizer)
            self.controller.step(done / iterations, iterations, response.cost, initial,
                                 response.per_multiplier, response.inertia, response.normalized,
                                 response.sensitivity)
        else:
            if self.settled is None:
                self.settled = self.settle(model, parameters, wanted)
                self.controller.multiplier = 0.0  # nothing is left to steer
            parameters.write_(self.settled)
        model.cost_weight = self.controller.multiplier

    def settle(self, model: Network, parameters: PoolParameters, wanted: float
               ) -> torch.Tensor:
        """The parameters ``(n,)`` at which the counted cost is nearest to ``wanted``."""
        counter = self.counter(model)

        @torch.no_grad()
        def count(values: torch.Tensor) -> float:
            return counter({n: a.tolist() for n, a in parameters.alphas(values).items()})

        _, slope = parameters.slope(self.cost(model))
        return settle(parameters.read(), slope.float(), parameters.limits(), count, wanted)

    def _settle_averages(self, runner: Runner) -> None:
        """Give moving averages the settled scales: they lag behind and would miss the budget."""
        assert self.settled is not None
        names = trained_network(runner).pools()
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                averaged = dict(hook.ema_model.module.named_modules())
                PoolParameters({name: averaged[name] for name in names}).write_(self.settled)


@HOOKS.register_module()
class GMACsBudgetHook(BudgetHook):
    """Makes a training end at the multiply-adds of the model's ``gmacs_budget``.

    [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook] brings it along where the model has one;
    see `BudgetHook`.

    Raises:
        ValueError: the model has no budget, or it is out of reach.

    Examples:
        >>> from mmseg.registry import HOOKS
        >>> import mmseg_dynopool
        >>> custom_hooks = [dict(type='GMACsBudgetHook')]  # beside model.gmacs_budget
        >>> hook = HOOKS.build(custom_hooks[0])
        >>> hook.kind.option, hook.kind.unit
        ('gmacs_budget', 'GMACs')
    """

    kind = GMACsBudget

    def cost(self, model: Network) -> Cost:
        assert model.cost is not None  # since prepare
        return model.cost.gmacs

    def initial(self, model: Network) -> float:
        assert model.cost is not None
        return model.cost.initial_gmacs

    def counter(self, model: Network) -> Callable[[Mapping[str, Sequence[float]]], float]:
        return model.gmacs_counter().gmacs

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        super().after_load_checkpoint(runner, checkpoint)
        self._loaded = self._loaded or _state_of_version_0_1(checkpoint)


def _state_of_version_0_1(checkpoint: dict) -> dict | None:
    """Version 0.1 kept the controller's state among the weights."""
    prefix = f'{GMACsBudget.option}.'
    state = {key.removeprefix(prefix): value
             for key, value in checkpoint.get('state_dict', {}).items() if key.startswith(prefix)}
    if not state:
        return None
    numbers = {key: state[key].item() for key in ('multiplier', 'integral', 'start_cost')}
    return dict(numbers, settled=state['settled_alphas'].flatten() if state['settled'] else None)
