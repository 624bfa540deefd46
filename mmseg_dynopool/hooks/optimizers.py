"""The optimizers of a runner, one or several, whoever calls them."""

from collections.abc import Iterable, Mapping

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor
from torch.optim import Optimizer

from mmseg_dynopool.layers import ResizingPool


def wrappers(runner: Runner) -> list[OptimWrapper]:
    """The wrappers of its optimizers."""
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def accumulation(runner: Runner) -> int:
    """Iterations from one step of the optimizer to the next; of several, the first's."""
    return wrappers(runner)[0]._accumulative_counts


def all_steps(runner: Runner) -> int:
    """Length of the training in steps of the optimizer."""
    return -(-runner.max_iters // accumulation(runner))


def progress(runner: Runner, steps: int | None = None) -> float:
    """The share of the training that is done, in steps of the optimizer."""
    done = runner.iter // accumulation(runner) if steps is None else steps
    return done / all_steps(runner)


def has_stepped(runner: Runner) -> bool:
    """Whether an iteration that is done had a step of the optimizer; of several, the first."""
    return wrappers(runner)[0].should_update()


def parameter_groups(runner: Runner, pools: Mapping[str, ResizingPool]) -> list[dict]:
    """The optimizers' groups that hold the poolings' parameters."""
    return [group for wrapper in wrappers(runner) for group in _holding(
        wrapper.optimizer, pools.values())]


def optimizers_of(runner: Runner, pools: Mapping[str, ResizingPool]) -> list[Optimizer]:
    """The optimizers that hold the poolings' parameters."""
    return [wrapper.optimizer for wrapper in wrappers(runner)
            if _holding(wrapper.optimizer, pools.values())]


def loss_scale(optimizer: Optimizer) -> Tensor | int:
    """By what the gradients are still multiplied right before a step.

    A fused optimizer gets them scaled, and the scale with them.
    """
    scale = getattr(optimizer, 'grad_scale', None)
    return 1 if scale is None else scale


def _holding(optimizer: Optimizer, pools: Iterable[ResizingPool]) -> list[dict]:
    parameters = {id(pool.parameter) for pool in pools}
    return [group for group in optimizer.param_groups
            if any(id(p) in parameters for p in group['params'])]
