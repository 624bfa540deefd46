"""Segmentors whose loss contains the cost of the network."""

from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS

from .gmacs_loss import GMACsLoss


@MODELS.register_module()
class DynOPoolEncoderDecoder(GMACsLoss, EncoderDecoder):
    """mmseg's ``EncoderDecoder`` with the cost of the learned resolutions in its loss.

    Args:
        *args, **kwargs: the arguments of ``EncoderDecoder``.
        dynopool: convert the backbone with these options, see :func:`DynOPoolBackbone`. Not for
            a ``DynOPoolHRNet``, which has its own.
        gmacs_weight: lambda of the paper, per 1e9 multiply-adds; default 7e-5.
        gmacs_budget: instead, ``dict(target=0.6)`` (ratio to the start) or
            ``dict(target_gmacs=100.)``: the weight is adapted so that the network ends at this
            cost; for the other options see :class:`GMACsBudget`.
        latency_budget: instead, ``dict(target=0.7)`` (ratio to the start) or
            ``dict(target_ms=25.)``: the network ends at this time of a forward pass; for the
            other options see :class:`LatencyBudget`.
        gmacs_shape: input size ``(H, W)`` at which GMACs count; default: the data
            preprocessor's ``size``, else the size of the first training batch.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.
    """


@MODELS.register_module()
class DynOPoolCascadeEncoderDecoder(GMACsLoss, CascadeEncoderDecoder):
    """mmseg's ``CascadeEncoderDecoder`` (e.g. HRNet+OCR) with the cost in its loss.

    Args:
        *args, **kwargs: the arguments of ``CascadeEncoderDecoder``.
        dynopool, gmacs_weight, gmacs_budget, latency_budget, gmacs_shape: see
            :class:`DynOPoolEncoderDecoder`.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.
    """
