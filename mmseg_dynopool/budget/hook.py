"""The hook that makes a training meet its budget."""

import torch
from mmengine.hooks import EMAHook, Hook
from mmseg.registry import HOOKS

from mmseg_dynopool.layers import unwrap

from .controller import BudgetController
from .plant import PoolParameters
from .settle import settle

_KEY = 'gmacs_budget'


@HOOKS.register_module()
class GMACsBudgetHook(Hook):
    """Adapts the weight of the cost so that a network ends at its ``gmacs_budget``.

    :class:`DynOPoolHook` brings it along where the model has a budget. It reads that budget, sets
    ``model.gmacs_weight`` before every step, and keeps its own state in checkpoints under
    ``'gmacs_budget'``. The phases are shares of the training's length: a run that is resumed with
    another ``max_iters`` goes on in the phase of the new length, a settled one stays settled.

    Once the budget has settled, each ``EMAHook`` averages with the settled scales: the averaged
    network meets the budget, too.

    Attributes:
        controller: moves the multiplier.
        settled: the settled parameters ``(n,)`` of the poolings, or None before.

    Raises:
        ValueError: the model has no budget, or it is out of reach.
    """

    priority = 41  # after DynOPoolHook (40), before moving averages (50) and checkpoints

    def __init__(self):
        self.controller: BudgetController | None = None
        self.settled: torch.Tensor | None = None
        self._loaded: dict | None = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._loaded = checkpoint.get(_KEY) or _state_of_version_0_1(checkpoint)

    def before_train(self, runner) -> None:
        model = unwrap(runner.model)
        budget = getattr(model, 'gmacs_budget', None)
        if budget is None:
            raise ValueError('GMACsBudgetHook: the model has no budget; set '
                             'model.gmacs_budget=dict(target=0.6), or remove the hook')
        model.prepare_cost()
        parameters = PoolParameters(model.pools())
        low, high = parameters.reachable_gmacs(model.cost)
        budget.check_reachable(model.cost.initial_gmacs, low, high)
        self.controller, self.settled = BudgetController(budget), None
        if self._loaded is not None and runner.iter > 0:  # load_from starts another run
            self.controller.load_state_dict(self._loaded, parameters.sensitivity(model.cost))
            self.settled = self._loaded['settled']
        model.gmacs_weight = self.controller.multiplier

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if self.controller is not None:
            checkpoint[_KEY] = dict(self.controller.state_dict(), settled=self.settled)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        # While gradients accumulate no alpha moves: time counts in the optimizer's steps.
        if runner.optim_wrapper.should_update():
            every = runner.optim_wrapper._accumulative_counts
            self.step(unwrap(runner.model), runner.optim_wrapper.optimizer,
                      -(-(runner.iter + 1) // every), -(-runner.max_iters // every))
        if self.settled is not None:
            self._settle_averages(runner)

    def step(self, model, optimizer: torch.optim.Optimizer, done: int, iterations: int) -> None:
        """Adapt the weight, or keep the settled scales.

        Args:
            model: a network with a budget, after a step of ``optimizer``.
            optimizer: it holds the poolings' parameters.
            done: steps of the optimizer so far.
            iterations: steps of the whole training.
        """
        budget, parameters = model.gmacs_budget, PoolParameters(model.pools())
        wanted = budget.wanted_gmacs(model.cost.initial_gmacs)
        if self.settled is None and done < budget.settle * iterations:
            response = parameters.response(model.cost, wanted, optimizer)
            self.controller.step(done / iterations, iterations, response.gmacs,
                                 model.cost.initial_gmacs, response.per_multiplier,
                                 response.inertia, response.normalized, response.sensitivity)
        else:
            if self.settled is None:
                self.settled = self._settle(model, parameters, wanted)
                self.controller.multiplier = 0.0  # nothing is left to steer
            parameters.write_(self.settled)
        model.gmacs_weight = self.controller.multiplier

    @staticmethod
    def _settle(model, parameters: PoolParameters, wanted: float) -> torch.Tensor:
        counter = model.gmacs_counter()

        @torch.no_grad()
        def count(values: torch.Tensor) -> float:
            return counter.gmacs({n: a.tolist() for n, a in parameters.alphas(values).items()})

        _, slope = parameters.slope(model.cost)
        return settle(parameters.read(), slope.float(), parameters.limits(), count, wanted)

    def _settle_averages(self, runner) -> None:
        """Give moving averages the settled scales: they lag behind and would miss the budget."""
        names = unwrap(runner.model).pools()
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                averaged = dict(hook.ema_model.module.named_modules())
                PoolParameters({name: averaged[name] for name in names}).write_(self.settled)


def _state_of_version_0_1(checkpoint: dict) -> dict | None:
    """Version 0.1 kept the controller's state among the weights."""
    state = {key.removeprefix(f'{_KEY}.'): value
             for key, value in checkpoint.get('state_dict', {}).items()
             if key.startswith(f'{_KEY}.')}
    if not state:
        return None
    numbers = {key: state[key].item() for key in ('multiplier', 'integral', 'start_cost')}
    return dict(numbers, settled=state['settled_alphas'].flatten() if state['settled'] else None)
