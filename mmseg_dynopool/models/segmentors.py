"""Segmentors that convert their own backbones."""

from mmengine.registry import MODELS
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder

from .learned_network import LearnedNetwork


@MODELS.register_module()
class DynOPoolEncoderDecoder(LearnedNetwork, EncoderDecoder):
    """mmseg's ``EncoderDecoder`` whose backbone learns its resolutions.

    The options of the cost are handed to [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook];
    version 0.3 had them here.

    Args:
        *args: the arguments of ``EncoderDecoder``.
        dynopool: convert the backbone with these options, see
            [`DynOPoolBackbone`][mmseg_dynopool.models.DynOPoolBackbone]. Not for a
            ``DynOPoolHRNet``, which has its own.
        gmacs_weight: option of the hook.
        gmacs_budget: option of the hook.
        latency_budget: option of the hook.
        gmacs_shape: option of the hook.
        **kwargs: further arguments of `EncoderDecoder`.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.

    Examples:
        >>> from mmseg.registry import MODELS
        >>> import mmseg_dynopool
        >>> model = MODELS.build(dict(
        ...     type='DynOPoolEncoderDecoder', dynopool=dict(rule='before'),
        ...     backbone=dict(type='ResNet', depth=18, base_channels=8),
        ...     decode_head=dict(type='FCNHead', in_channels=64, channels=8, num_classes=19)))
        >>> list(model.backbone.dynopools)
        ['stride2', 'stride4', 'stride8', 'stride16', 'stride32']
        >>> round(model.count_gmacs((128, 256)), 3)
        0.107
    """


@MODELS.register_module()
class DynOPoolCascadeEncoderDecoder(LearnedNetwork, CascadeEncoderDecoder):
    """mmseg's ``CascadeEncoderDecoder`` (e.g. HRNet+OCR), likewise.

    Args:
        *args: the arguments of ``CascadeEncoderDecoder``.
        dynopool: options of the conversion; for details of all options see
            [`DynOPoolEncoderDecoder`][mmseg_dynopool.models.DynOPoolEncoderDecoder].
        gmacs_weight: option of the hook.
        gmacs_budget: option of the hook.
        latency_budget: option of the hook.
        gmacs_shape: option of the hook.
        **kwargs: further arguments of `CascadeEncoderDecoder`.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.

    Examples:
        >>> from mmseg.registry import MODELS
        >>> import mmseg_dynopool
        >>> head = dict(in_channels=64, channels=8, num_classes=19)
        >>> model = MODELS.build(dict(
        ...     type='DynOPoolCascadeEncoderDecoder', num_stages=2, dynopool=dict(rule='before'),
        ...     backbone=dict(type='ResNet', depth=18, base_channels=8),
        ...     decode_head=[dict(head, type='FCNHead'),
        ...                  dict(head, type='OCRHead', ocr_channels=8)]))
        >>> round(model.count_gmacs((128, 256)), 3)
        0.107
    """
