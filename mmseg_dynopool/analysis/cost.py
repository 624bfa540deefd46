"""What a network costs, beside the stock network, and how long it takes on this machine."""

import copy
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_dynopool.config import dynopool_parts, type_name
from mmseg_dynopool.costs import time_alternately
from mmseg_dynopool.costs.count import check_shape
from mmseg_dynopool.export.freeze import plain_model
from mmseg_dynopool.layers.find import all_pools, by_short_name, input_channels
from mmseg_dynopool.layers.image import image_levels
from mmseg_dynopool.models.cost import count_network_gmacs
from mmseg_dynopool.models.whole_network import forward_without_postprocessing, tensors_of


@dataclass
class MeasuredCost:
    """One image through backbone and head: multiply-adds in 1e9, ``(H, W)`` of feature maps."""

    params: int
    gmacs: float
    sizes: list[tuple[int, int]]
    seconds: list[float]

    @property
    def median_ms(self) -> float:
        return 1e3 * statistics.median(self.seconds)

    def time_ratio(self, other: 'MeasuredCost') -> tuple[float, float, float]:
        """Quartiles of the times relative to ``other``'s, round by round.

        Networks that take turns share the machine's slow moments, which cancel in such a ratio.
        """
        return tuple(np.percentile(np.divide(self.seconds, other.seconds), (25, 50, 75)).tolist())


def stock_model(model_cfg: ConfigDict, is_stock: bool = False) -> ConfigDict | None:
    """The same network with the strides of the stock HRNet, or of what was converted.

    Equal for equal networks, whether types have a scope or are classes; None if no stock network is
    known. ``is_stock``: the network is known to hold no DynOPool.
    """
    backbone = model_cfg.get('backbone')
    is_hrnet = isinstance(backbone, dict) and type_name(backbone) == 'HRNet'
    if not (dynopool_parts(model_cfg) or is_hrnet or is_stock):
        return None
    stock = plain_model(model_cfg)
    parts = dynopool_parts(stock).values()
    for part in parts:
        settings = part.get('backbone') or dict(part, type='HRNet')
        settings.pop('dynopool', None)
        part.clear()  # in place, wherever it is
        part.update(settings)
    if is_hrnet:
        stock.backbone.type = 'HRNet'
    with MODELS.switch_scope_and_registry(None) as models:  # of the config's default scope
        for part in (stock, stock.get('backbone'), *parts):
            name = part.get('type') if isinstance(part, dict) else None
            if isinstance(name, str) and models.get(type_name(part)) is models.get(name):
                part['type'] = type_name(part)
    return stock


def build(model_cfg: ConfigDict, device: str) -> BaseModel:
    """A network of the default scope with random weights, in evaluation mode."""
    network = MODELS.build(copy.deepcopy(model_cfg)).to(device)
    network.eval()
    return network


@torch.no_grad()
def measure(models: dict[str, BaseModel], shape: Sequence[int], repeats: int,
            parts: Sequence[str] = ('backbone', )) -> dict[str, MeasuredCost]:
    """Count and time networks in evaluation mode on the same random image of ``shape = (H, W)``.

    ``parts`` are dotted paths of the modules whose feature maps' sizes are noted.
    """
    check_shape(shape)
    first = next(iter(models.values()))
    device = next(first.parameters()).device
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, input_channels(first), *shape, generator=generator).to(device)
    seconds = time_alternately({name: partial(forward_without_postprocessing, model, image)
                                for name, model in models.items()}, repeats, device)
    return {name: MeasuredCost(params=sum(p.numel() for p in model.parameters()),
                               gmacs=count_network_gmacs(model, shape),
                               sizes=_sizes(model, image, parts),
                               seconds=seconds[name]) for name, model in models.items()}


def _sizes(model: BaseModel, image: Tensor, parts: Sequence[str]) -> list[tuple[int, int]]:
    sizes: list[tuple[int, int]] = []
    handles = [module.register_forward_hook(lambda module, inputs, outputs: sizes.extend(
        (y.shape[2], y.shape[3]) for y in tensors_of(outputs) if y.dim() == 4))
        for name, module in model.named_modules() if name in parts]
    forward_without_postprocessing(model, image)
    for handle in handles:
        handle.remove()
    return sizes


def resized_images(model: nn.Module, shape: Sequence[int]) -> list[tuple[int, int]]:
    """``(H, W)`` to which a network resizes an image of ``shape`` first, for each of its parts."""
    return [pool.output_size(shape) for pool in image_levels(model).values()]


def learned_scales(model: nn.Module) -> dict[str, tuple[float, float]]:
    """``(r_h, r_w)`` by DynOPool, inside its bounds; empty for a stock network."""
    return {name: tuple(pool.scale.tolist())
            for name, pool in by_short_name(all_pools(model)).items()}
