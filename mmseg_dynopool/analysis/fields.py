"""Effective and theoretical receptive fields of the outputs of a network, as numbers."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from mmseg.models import BaseSegmentor
from torch import Tensor, nn

from mmseg_dynopool.layers import FixedDynOPool, freeze_pools
from mmseg_dynopool.layers.find import all_pools
from mmseg_dynopool.models.whole_network import tensors_of

from .theoretical_field import Box, centre, theoretical_field


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive field of the centre unit of one output, in pixels of the network's input.

    Attributes:
        size: ``(H, W)`` of the feature map.
        gradient: absolute gradient ``(H, W)`` of the sum of the unit's channels (or of one logit),
            averaged over the image's channels, divided by its sum; zeros if the unit is off.
        effective, core: the middle 95 % and 50 % of it along each axis; None if it is zero.
        theoretical: the pixels that the unit can depend on; None for a logit.
    """

    name: str
    size: tuple[int, int]
    gradient: np.ndarray
    effective: Box | None
    core: Box | None
    theoretical: Box | None


def measure_fields(network: nn.Module, image: Tensor,
                   head: Callable[[list[Tensor]], Tensor] | None = None) -> list[ReceptiveField]:
    """Receptive fields of the centre units of a network's outputs.

    Effective fields are gradients (Luo et al., "Understanding the Effective Receptive Field in
    Deep Convolutional Neural Networks", NeurIPS 2016).

    Args:
        network: returns one or more feature maps.
        image: ``(1, C, H, W)``, normalized, on the network's device.
        head: makes logits of the features; the highest one in the centre is ``'logit'``.

    Raises:
        ValueError: ``image`` is not one image, a gradient is not finite; or see
            `theoretical_field`.
    """
    if image.dim() != 4 or len(image) != 1:
        raise ValueError(f'image must have shape (1, C, H, W), got {tuple(image.shape)}')
    network = copy.deepcopy(network).requires_grad_(False)
    network.eval()
    image = image.detach().clone().requires_grad_()
    outputs = tensors_of(network(image))
    boxes: list[Box | None] = [*theoretical_field(network, image.shape[2:])]
    kind = 'stream' if 'stream1' in getattr(network, 'dynopools', ()) else 'output'
    units = [(f'{kind} {k}', output, centre(output).sum()) for k, output in enumerate(outputs)]
    if head is not None:
        logits = head(outputs)
        units.append(('logit', logits, centre(logits).max()))
        boxes.append(None)
    return [_measure(name, output, unit, image, box)
            for (name, output, unit), box in zip(units, boxes, strict=True)]


def _measure(name: str, output: Tensor, unit: Tensor, image: Tensor, box: Box | None
             ) -> ReceptiveField:
    derivative, = torch.autograd.grad(unit, image, retain_graph=True)
    gradient = derivative[0].abs().mean(0).double().cpu().numpy()
    total = gradient.sum()
    if not np.isfinite(total):
        raise ValueError(f'the gradient of the centre unit of {name} is not finite: the training '
                         'diverged; take a checkpoint from before')
    effective = core = None
    if total > 0:
        gradient /= total
        effective, core = (Box(*_middle(gradient.sum(1), mass), *_middle(gradient.sum(0), mass))
                           for mass in (0.95, 0.5))
    return ReceptiveField(name, (output.shape[2], output.shape[3]), gradient, effective, core, box)


def _middle(profile: np.ndarray, mass: float) -> tuple[int, int]:
    """First pixel, and the one behind the last, of the middle ``mass`` of a profile of sum 1."""
    tail = (1 - mass) / 2
    ahead, behind = np.cumsum(profile), np.cumsum(profile[::-1])
    return int((ahead <= tail).sum()), len(profile) - int((behind <= tail).sum())


def compare_fields(model: BaseSegmentor, image: Tensor) -> dict[str, list[ReceptiveField]]:
    """Fields of a segmentor's feature maps and centre logit, ``'learned'`` and ``'r = 0.5'``.

    The latter has the same weights at the stock network's sizes (``'stock scales'`` if not all
    are halves); its own theoretical field is a little smaller: strided convolutions do not pool.
    ``image (1, C, H, W)`` is as the data preprocessor returns it.

    Raises:
        ValueError: the backbone holds no DynOPool; see `measure_fields`.
    """
    backbone = getattr(model, 'backbone', None)
    if backbone is None or not all_pools(backbone):
        name = type(model if backbone is None else backbone).__name__
        raise ValueError(f'{name} holds no DynOPool: there is no learned field to show; give a '
                         'config with model.dynopool or a DynOPoolHRNet, and its checkpoint')
    model = freeze_pools(model).requires_grad_(False)  # a copy; constants can take any scale
    head = partial(_logits, model)
    learned = measure_fields(model.backbone, image, head)
    pools = [pool for pool in all_pools(model).values() if isinstance(pool, FixedDynOPool)]
    for pool in pools:
        pool.set_scale_(pool.stock_scale)
    halves = all(tuple(pool.stock_scale) == (0.5, 0.5) for pool in pools)
    stock = 'r = 0.5' if halves else 'stock scales'
    return {'learned': learned, stock: measure_fields(model.backbone, image, head)}


def _logits(model: BaseSegmentor, features: list[Tensor]) -> Tensor:
    if model.with_neck:
        features = model.neck(features)
    cascade = isinstance(model.decode_head, nn.ModuleList)
    first, *others = model.decode_head if cascade else [model.decode_head]
    logits = first(features)
    for head in others:
        logits = head(features, logits)
    return logits
