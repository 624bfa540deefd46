"""A classifier of mmpretrain that converts its own backbone."""

from mmengine.registry import MODELS
from mmpretrain.models import ImageClassifier

from mmseg_dynopool.models.segmentors import LearnedNetwork


@MODELS.register_module()
class DynOPoolImageClassifier(LearnedNetwork, ImageClassifier):
    """mmpretrain's ``ImageClassifier`` whose backbone learns its resolutions.

    Args:
        *args: the arguments of mmpretrain's `ImageClassifier`.
        dynopool: convert the backbone with these options, see
            [`DynOPoolBackbone`][mmseg_dynopool.models.DynOPoolBackbone]; the paper's classifiers
            have ``rule='after'`` (supplement, section 1.1).
        gmacs_weight: option of [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook], as are
            ``gmacs_budget``, ``latency_budget`` and ``gmacs_shape``.
        **kwargs: the arguments of mmpretrain's `ImageClassifier` by name.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.

    Examples:
        >>> from mmengine.registry import init_default_scope
        >>> from mmseg_dynopool.classification import DynOPoolImageClassifier
        >>> init_default_scope('mmpretrain')
        >>> model = DynOPoolImageClassifier(
        ...     backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8),
        ...     neck=dict(type='GlobalAveragePooling'),
        ...     head=dict(type='LinearClsHead', num_classes=10, in_channels=64),
        ...     dynopool=dict(rule='after'))
        >>> print(f'{1e3 * model.count_gmacs((32, 32)):.2f} million multiply-adds')
        12.05 million multiply-adds
    """
