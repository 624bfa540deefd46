"""Any backbone of mmseg with learned resolutions."""

from mmengine.model import BaseModel
from mmseg.registry import MODELS
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.costs import GMACsCounter
from mmseg_dynopool.layers.find import input_channels

from .cost import forward_without_postprocessing

# A size of which every usual stride is a divisor, and parts of the initial scales.
_SHAPE = (704, 832)
_PARTS = (0.9, 0.7)
_OPTIONS = ('rule', 'scale', 'bounds', 'anchor', 'window', 'type', 'merge', 'skip', 'learn')


def DynOPoolBackbone(backbone: dict, dynopool: dict | None = None,
                     pretrained: str | None = None) -> nn.Module:
    """Build a backbone and convert it.

    See [`convert_dynopool`][mmseg_dynopool.conversion.convert_dynopool].

    What is built is the backbone itself, converted in place: its checkpoints load, its
    ``init_cfg`` and ``frozen_stages`` act. Segmentors and classifiers do this by their option
    ``dynopool``.

    Args:
        backbone: config of the stock backbone.
        dynopool: options of ``convert_dynopool``: ``rule``, ``scale``, ``bounds``, ``anchor``,
            ``window``, ``type``, ``merge``, ``skip``, ``learn``.
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
    if not isinstance(dynopool or {}, dict):
        raise ValueError(f'dynopool must be a dict of options, got {dynopool!r}')
    unknown = sorted(set(dynopool or {}) - set(_OPTIONS))
    if unknown:
        raise ValueError(f'unknown dynopool options {unknown}; there are {list(_OPTIONS)}')
    if pretrained is not None:
        backbone = dict(backbone, pretrained=pretrained)
    return convert_dynopool(MODELS.build(backbone), **(dynopool or {}))


MODELS.register_module(module=DynOPoolBackbone)  # as a decorator it would hide the types


def check_other_sizes(network: BaseModel) -> None:
    """Check that the heads take features of whatever size the backbone's scales give.

    Raises:
        ValueError: one does not.
    """
    counter = GMACsCounter(network, _SHAPE, input_channels(network),
                           forward_without_postprocessing)
    for part in _PARTS:
        for pool in counter.pools.values():
            pool.set_scale_([part * s for s in pool.initial_scale])
        try:
            counter.calls()
        except Exception as error:  # from any head, of any type
            raise ValueError(
                f'{counter.running or "a head"} takes features of the stock sizes alone: it '
                f'fails at {part} of the initial scales ({type(error).__name__}: {error}); use a '
                'head that resizes to the size of a feature map') from error
