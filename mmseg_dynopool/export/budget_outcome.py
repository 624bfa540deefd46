"""What a trained network costs, beside the budget of its config."""

from mmengine.config import Config
from mmengine.registry import HOOKS
from torch import nn

from mmseg_dynopool.checkpoints import Checkpoint
from mmseg_dynopool.config import counted_shape, hook_options, how_to_run
from mmseg_dynopool.costs.budget import Outcome
from mmseg_dynopool.costs.options import CostOptions
from mmseg_dynopool.hooks.dynopool_hook import STATE
from mmseg_dynopool.layers.find import all_pools
from mmseg_dynopool.models.whole_network import network_forward


def budget_outcome(cfg: Config, model: nn.Module, checkpoint: Checkpoint) -> Outcome | None:
    """The cost of a trained network, sizes rounded, and that of its config's budget.

    ``model`` has the weights of ``checkpoint``, and ``cfg`` is of its training. None if there is no
    budget, or if time was measured in the training and the checkpoint holds weights alone.
    """
    options = HOOKS.build(hook_options(cfg)).options if hook_options(cfg) else CostOptions()
    of_model = getattr(model, 'cost_options', {})
    budget = (CostOptions.of(**of_model) if of_model else options).budget
    state = checkpoint.content.get(STATE) or {}
    shape = options.shape or state.get('shape') or counted_shape(cfg)
    measured_there = getattr(budget, 'model', 'no file') is None  # the time was, not read
    if budget is None or shape is None or (measured_there and not state.get('cost')):
        return None
    cost = budget.cost(model, shape, *network_forward(model, shape, **how_to_run(cfg)),
                       state=state.get('cost'))
    alphas = {name: pool.read_alpha() for name, pool in all_pools(model).items()}
    return Outcome(cost.counted(model)(alphas), budget.wanted(cost.initial), cost.initial,
                   cost.unit)
