"""A user's script, which `make types` checks: nothing in it is of an unknown type."""

import torch
from torch import Tensor, nn

from mmseg_dynopool import DynOPoolHRNet, config_path
from mmseg_dynopool.conversion import ConversionPlan, convert_dynopool, plan_conversion
from mmseg_dynopool.costs import (
    ComplexityModel,
    GMACsBudget,
    LatencyModel,
    count_gmacs,
    probe_complexity,
)
from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d, freeze_pools, learned_pools
from mmseg_dynopool.ops import dynopool2d, pooled_size


def use(network: nn.Module) -> dict[str, tuple[float, ...]]:
    plan: ConversionPlan = plan_conversion(network)
    print(plan)
    converted: nn.Module = convert_dynopool(network)
    cost: ComplexityModel = probe_complexity(converted, (64, 64))
    gmacs: Tensor = cost.gmacs({name: torch.ones(2) for name in cost.initial_scales})
    total: float = count_gmacs(freeze_pools(converted), (64, 64)) + gmacs.item()
    print(total, GMACsBudget(target=0.6).wanted(total))
    return {name: (float(pool.scale[0]), float(pool.scale[1]))
            for name, pool in learned_pools(converted).items()}


def pool(image: Tensor) -> Tensor:
    conv = DynOPoolConv2d(DynOPool((0.5, 0.4)), 3, 8, 3)
    size: tuple[int, int] = pooled_size((64, 60), (2.0, 2.5))
    pooled: Tensor = dynopool2d(image, (2.0, 2.5), size)
    features: Tensor = conv(pooled)
    return features


def measured(cost: LatencyModel, network: DynOPoolHRNet) -> tuple[float, str]:
    size: dict[str, tuple[int, int]] = network.feature_sizes((512, 1024))
    print(size)
    return cost.initial_ms, config_path('unet_dynopool_cityscapes.py')
