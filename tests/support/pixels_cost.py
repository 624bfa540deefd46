"""A kind of cost from outside of the package: the pixels of all maps that poolings put out.

A config names it by ``dict(type='DynOPoolHook', budget=dict(type='PixelsBudget', target=0.6))`` and
``custom_imports``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mmengine.registry import TASK_UTILS
from torch import Tensor, nn

from mmseg_dynopool.costs import Budget, ComplexityModel, Cost, Posynomial, probe_complexity


class PixelsCost(Cost):
    """Pixels of the maps, by the sizes that a probe of the multiply-adds finds."""

    name = 'pixels'
    scalar = 'pixels'
    unit = 'pixels'

    def __init__(self, complexity: ComplexityModel):
        self.complexity = complexity
        self.shape = complexity.shape
        self.terms = Posynomial(complexity.initial_scales, complexity.add_up(
            layer.size[0] * layer.size[1] if layer.size else 0.0 for layer in complexity.layers))

    @property
    def initial(self) -> float:
        return self.terms.initial

    def __call__(self, alphas: Mapping[str, Tensor]) -> Tensor:
        return self.terms.parts(alphas).sum()

    def counted(self, model: nn.Module) -> Callable:
        counter = self.complexity.counter(model)

        def count(alphas: Mapping) -> float:
            for name, alpha in alphas.items():
                counter.pools[name].set_alpha_(alpha)
            sizes = [call.size for call in counter.calls() if call.size]
            return float(sum(height * width for height, width in sizes))

        return count


@TASK_UTILS.register_module()
@dataclass(frozen=True, kw_only=True)
class PixelsBudget(Budget):
    """A budget of pixels, relative or as ``target_pixels``."""

    cost_type = PixelsCost

    target_pixels: float | None = None

    def cost(self, model, shape, in_channels=3, forward=None, state=None) -> PixelsCost:
        return PixelsCost(probe_complexity(model, shape, in_channels, forward))
