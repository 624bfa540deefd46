"""Segmentors whose loss contains the cost of the network."""

from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS

from .learned_network import LearnedNetwork


@MODELS.register_module()
class DynOPoolEncoderDecoder(LearnedNetwork, EncoderDecoder):
    """mmseg's ``EncoderDecoder`` with the cost of the learned resolutions in its loss.

    Args:
        *args: the arguments of ``EncoderDecoder``.
        dynopool: convert the backbone with these options, see
            [`DynOPoolBackbone`][mmseg_dynopool.models.DynOPoolBackbone]. Not for a
            ``DynOPoolHRNet``, which has its own.
        gmacs_weight: lambda of the paper, per 1e9 multiply-adds; default 7e-5.
        gmacs_budget: instead, ``dict(target=0.6)`` (ratio to the start) or
            ``dict(target_gmacs=100.)``: the weight is adapted so that the network ends at this
            cost; for the other options see [`GMACsBudget`][mmseg_dynopool.budget.GMACsBudget].
        latency_budget: instead, ``dict(target=0.7)`` (ratio to the start) or
            ``dict(target_ms=25.)``: the network ends at this time of a forward pass; for the
            other options see [`LatencyBudget`][mmseg_dynopool.budget.LatencyBudget].
        gmacs_shape: input size ``(H, W)`` at which GMACs count; default: the data
            preprocessor's ``size``, else the size of the first training batch.
        **kwargs: further arguments of `EncoderDecoder`.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.

    Examples:
        >>> from mmseg.registry import MODELS
        >>> import mmseg_dynopool
        >>> model = MODELS.build(dict(
        ...     type='DynOPoolEncoderDecoder', dynopool=dict(rule='before'),
        ...     gmacs_budget=dict(target=0.6), gmacs_shape=(128, 256),
        ...     backbone=dict(type='ResNet', depth=18, base_channels=8),
        ...     decode_head=dict(type='FCNHead', in_channels=64, channels=8, num_classes=19)))
        >>> list(model.backbone.dynopools)
        ['stride2', 'stride4', 'stride8', 'stride16', 'stride32']
        >>> round(model.count_gmacs(), 3)
        0.107
    """


@MODELS.register_module()
class DynOPoolCascadeEncoderDecoder(LearnedNetwork, CascadeEncoderDecoder):
    """mmseg's ``CascadeEncoderDecoder`` (e.g. HRNet+OCR) with the cost in its loss.

    Args:
        *args: the arguments of ``CascadeEncoderDecoder``.
        dynopool: options of the conversion; for details of all options see
            [`DynOPoolEncoderDecoder`][mmseg_dynopool.models.DynOPoolEncoderDecoder].
        gmacs_weight: lambda of the paper, per 1e9 multiply-adds; default 7e-5.
        gmacs_budget: instead, a budget of multiply-adds.
        latency_budget: instead, a budget of time.
        gmacs_shape: input size ``(H, W)`` at which GMACs count.
        **kwargs: further arguments of `CascadeEncoderDecoder`.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.

    Examples:
        >>> from mmseg.registry import MODELS
        >>> import mmseg_dynopool
        >>> head = dict(in_channels=64, channels=8, num_classes=19)
        >>> model = MODELS.build(dict(
        ...     type='DynOPoolCascadeEncoderDecoder', num_stages=2, dynopool=dict(rule='before'),
        ...     gmacs_weight=1e-3, backbone=dict(type='ResNet', depth=18, base_channels=8),
        ...     decode_head=[dict(head, type='FCNHead'),
        ...                  dict(head, type='OCRHead', ocr_channels=8)]))
        >>> round(model.count_gmacs((128, 256)), 3)
        0.107
    """
