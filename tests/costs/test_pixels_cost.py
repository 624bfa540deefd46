"""A kind of cost that the package does not know, made of what it exports."""

import pytest
import torch
from mmengine.registry import TASK_UTILS

from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.costs.options import CostOptions
from mmseg_dynopool.layers import learned_pools
from support.pixels_cost import PixelsBudget
from support.toy_networks import ToyResNet, map_sizes, set_scales

SHAPE = (256, 384)


def pixels_that_run(model, shape=SHAPE):
    """Of the outputs of the poolings in a pass that really runs."""
    return sum(h * w for name, sizes in map_sizes(model.eval(), shape).items()
               for h, w in sizes if name.startswith('dynopools.'))


@pytest.fixture
def model():
    return convert_dynopool(ToyResNet())


@pytest.fixture
def cost(model):
    return PixelsBudget(target=0.5).cost(model, SHAPE)


def test_its_budget_is_built_from_a_config():
    budget = TASK_UTILS.build(dict(type='PixelsBudget', target_pixels=9000, reach=0.3))
    assert budget == PixelsBudget(target_pixels=9000, reach=0.3)
    assert (budget.option, budget.absolute) == ('pixels_budget', 'target_pixels')
    assert budget.wanted(initial=20000.0) == 9000
    assert PixelsBudget(target=0.5).wanted(initial=20000.0) == 10000.0
    assert CostOptions.of(budget=budget) == (None, budget, None)
    with pytest.raises(ValueError, match=r'pixels_budget takes either target \(relative to the '
                       r'initial scales\) or target_pixels, got target=0.5, target_pixels=9'):
        PixelsBudget(target=0.5, target_pixels=9)


def test_it_is_the_pixels_of_a_network_that_runs(cost, model):
    assert cost.shape == SHAPE
    assert cost.initial == pixels_that_run(model)
    assert cost.describe() == f'{cost.initial:.4g} pixels at the initial scales'
    set_scales(model, stride2=(0.375, 0.5), stride8=(0.25, 0.75))  # without a rest
    alphas = {name: pool.alpha.detach() for name, pool in learned_pools(model).items()}
    assert cost(alphas).item() == pytest.approx(pixels_that_run(model), rel=1e-6)
    assert cost(alphas) < 0.8 * cost.initial
    assert cost(alphas).dtype == torch.float64


def test_it_is_counted_with_rounded_sizes(cost, model):
    alphas = {name: (2.3 + 0.1 * i, 1.7) for i, name in enumerate(learned_pools(model))}
    count = cost.counted(model)
    assert count({}) == cost.initial
    counted = count(alphas)
    set_scales(model, **{name.rpartition('.')[2]: [1 / a for a in pair]
                         for name, pair in alphas.items()})
    assert counted == pixels_that_run(model)
    smooth = cost({name: torch.tensor(pair) for name, pair in alphas.items()}).item()
    assert smooth == pytest.approx(counted, rel=0.02) and smooth != counted


def test_it_is_differentiable(cost, model):
    names = list(learned_pools(model))
    alphas = [torch.tensor([2.3, 1.9 + 0.2 * i], dtype=torch.float64, requires_grad=True)
              for i in range(len(names))]
    assert torch.autograd.gradcheck(
        lambda *pairs: cost(dict(zip(names, pairs))) / cost.initial, alphas)
