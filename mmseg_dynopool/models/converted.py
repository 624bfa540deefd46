"""Any backbone of mmseg with learned resolutions."""

from inspect import signature

import mmengine.registry
from mmseg.registry import MODELS
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool

_OPTIONS = [name for name in signature(convert_dynopool).parameters
            if name not in ('model', 'forward')]


def DynOPoolBackbone(backbone: dict, dynopool: dict | None = None,
                     pretrained: str | None = None) -> nn.Module:
    """Build a backbone and convert it in place: its checkpoints load, its ``init_cfg`` acts.

    Segmentors and classifiers do this by their option ``dynopool``.

    Args:
        backbone: config of the stock backbone.
        dynopool: options of
            [`convert_dynopool`][mmseg_dynopool.conversion.convert_dynopool], but ``forward``.
        pretrained: passed on to the stock backbone.

    Raises:
        ValueError: an option is unknown or malformed, or the backbone cannot be converted.

    Examples:
        >>> import torch
        >>> from mmseg.registry import MODELS
        >>> import mmseg_dynopool
        >>> net = MODELS.build(dict(
        ...     type='DynOPoolBackbone', dynopool=dict(rule='before', scale=dict(stride4=0.25)),
        ...     backbone=dict(type='ResNet', depth=18, base_channels=8)))
        >>> [tuple(features.shape) for features in net(torch.rand(1, 3, 128, 128))]  # stock: 32
        [(1, 8, 16, 16), (1, 16, 8, 8), (1, 32, 4, 4), (1, 64, 2, 2)]
    """
    options = dynopool or {}
    if not isinstance(options, dict):
        raise ValueError(f'dynopool must be a dict of options, got {options!r}')
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise ValueError(f'unknown dynopool options {unknown}; there are {_OPTIONS}')
    if pretrained is not None:
        backbone = dict(backbone, pretrained=pretrained)
    # By the registry of the scope that a config has, and without one by mmseg's.
    network = convert_dynopool(MODELS.build(backbone), **options)
    vars(network)['restores_size'] = False  # features follow the image; heads bring logits back
    return network


# As a decorator it would hide the types.
mmengine.registry.MODELS.register_module(module=DynOPoolBackbone)
