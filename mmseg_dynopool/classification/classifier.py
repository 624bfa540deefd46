"""A classifier of mmpretrain whose loss contains the cost of the network."""

from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS

from mmseg_dynopool.models.gmacs_loss import GMACsLoss


@MODELS.register_module()
class DynOPoolImageClassifier(GMACsLoss, ImageClassifier):
    """mmpretrain's ``ImageClassifier`` with the cost of the learned resolutions in its loss.

    Args:
        *args, **kwargs: the arguments of ``ImageClassifier``.
        dynopool: convert the backbone with these options, see :func:`DynOPoolBackbone`; the
            paper's classifiers have ``rule='after'`` (supplement, section 1.1).
        gmacs_weight, gmacs_budget, latency_budget: see :class:`DynOPoolEncoderDecoder`.
        gmacs_shape: input size ``(H, W)`` at which GMACs count; default: that of the first
            training batch.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.
    """
