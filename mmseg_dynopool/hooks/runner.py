"""What the hooks ask of a runner: its optimizers, and its batches before the training sees them."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.dist import broadcast_object_list
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor
from torch.optim import Optimizer

from mmseg_dynopool.layers import ResizingPool, learned_pools
from mmseg_dynopool.layers.find import by_short_name
from mmseg_dynopool.learning.two_passes import undisturbed
from mmseg_dynopool.models.whole_network import loss_of, unwrap


def named_pools(runner: Runner) -> dict[str, ResizingPool]:
    """The poolings of a runner's model that learn, by their names in logs."""
    return by_short_name(learned_pools(unwrap(runner.model)))


def _wrappers(runner: Runner) -> list[OptimWrapper]:
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def accumulation(runner: Runner) -> int:
    """Iterations from one step of the optimizer to the next; of several, the first's."""
    return _wrappers(runner)[0]._accumulative_counts


def all_steps(runner: Runner) -> int:
    """Length of the training in steps of the optimizer."""
    return -(-runner.max_iters // accumulation(runner))


def progress(runner: Runner) -> float:
    """The share of the training that is done, in steps of the optimizer."""
    return (runner.iter // accumulation(runner)) / all_steps(runner)


def has_stepped(runner: Runner) -> bool:
    """Whether an iteration that is done had a step of the optimizer; of several, the first."""
    return _wrappers(runner)[0].should_update()


def groups_of(runner: Runner, pools: Mapping[str, ResizingPool]) -> list[tuple[Optimizer, dict]]:
    """The optimizers, each with a group of its parameters, that hold the poolings' parameters."""
    wanted = {id(pool.parameter) for pool in pools.values()}
    return [(wrapper.optimizer, group) for wrapper in _wrappers(runner)
            for group in wrapper.optimizer.param_groups
            if any(id(parameter) in wanted for parameter in group['params'])]


def loss_scale(optimizer: Optimizer) -> Tensor | int:
    """The factor that is still in the gradients right before a step.

    A fused optimizer gets them scaled, and the scale with them.
    """
    scale = getattr(optimizer, 'grad_scale', None)
    return 1 if scale is None else scale


def shape_of(model: BaseModel, data_batch: Any) -> tuple[int, int]:
    """``(H, W)`` of a batch as the network gets it; no random numbers are used up."""
    try:
        with torch.no_grad(), undisturbed(model):
            inputs = model.data_preprocessor(copy.deepcopy(data_batch), True)['inputs']
        image = inputs if isinstance(inputs, Tensor) else inputs[0]
        shape = [(image.shape[-2], image.shape[-1])]
    except Exception as error:  # from any preprocessor, of any type
        raise ValueError('the size of an image cannot be told from a batch '
                         f'({type(error).__name__}: {error}); give DynOPoolHook '
                         'gmacs_shape=(H, W)') from error
    broadcast_object_list(shape)  # ranks may begin with images of other sizes
    return shape[0]


def loss_on(runner: Runner, data_batch: Any) -> Callable[[], Tensor]:
    """A function that returns the task's loss on a batch, as in the training."""
    model: BaseModel = unwrap(runner.model)
    wrapper = _wrappers(runner)[0]

    def loss() -> Tensor:
        with wrapper.optim_context(model):
            try:
                return loss_of(model, data_batch)
            except TypeError as error:
                raise ValueError(
                    f"{type(model).__name__} does not give its losses by forward(..., mode='loss') "
                    f'as mmengine has it ({error}), so what a scale does to them cannot be '
                    "measured; let it, or set DynOPoolHook's gradient='straight_through'"
                ) from error

    return loss
