"""Segmentors that convert their own backbones, and what they share with the classifier."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from torch import Tensor

from mmseg_dynopool.costs.options import CostOptions
from mmseg_dynopool.layers.find import all_pools

from .cost import count_network_gmacs

if TYPE_CHECKING:  # the class of mmseg or mmpretrain that it is mixed into
    from mmengine.model import BaseModel as _Model
else:
    _Model = object


class LearnedNetwork(_Model):
    """Puts a ``DynOPoolBackbone`` around the backbone; to be inherited before the stock class.

    Attributes:
        cost_options: those options of `DynOPoolHook` that version 0.3 had here, for the hook.
        has_cost_hook: whether a hook has taken them over; set by the hook while it trains.
    """

    def __init__(self,
                 *args: Any,
                 dynopool: dict | None = None,
                 gmacs_weight: float | None = None,
                 gmacs_budget: dict | None = None,
                 latency_budget: dict | None = None,
                 gmacs_shape: Sequence[int] | None = None,
                 **kwargs: Any):
        options = dict(gmacs_weight=gmacs_weight, gmacs_budget=gmacs_budget,
                       latency_budget=latency_budget, gmacs_shape=gmacs_shape)
        CostOptions.of(**options)  # type: ignore[arg-type]
        if dynopool is not None:
            # A ConfigDict, as the stock class sets a top-level pretrained as its attribute.
            kwargs['backbone'] = ConfigDict(type='DynOPoolBackbone', backbone=kwargs['backbone'],
                                            dynopool=dynopool)
        super().__init__(*args, **kwargs)
        self.cost_options: dict[str, Any] = {
            name: value for name, value in options.items() if value is not None}
        self.has_cost_hook = False
        if not all_pools(self):
            raise ValueError(
                f'{type(self).__name__} needs a network with DynOPools, but backbone '
                f'{type(self.backbone).__name__} holds none; set '
                "model.dynopool=dict(rule='before') to convert it, or "
                "model.backbone.type='DynOPoolHRNet', or use the stock network")

    def count_gmacs(self, shape: Sequence[int] | None = None) -> float:
        """Multiply-adds in 1e9 of one image, sizes rounded.

        ``shape`` is ``(H, W)`` of the image; default: ``gmacs_shape``, else the training crop.
        """
        shape = shape or self.cost_options.get('gmacs_shape') or getattr(
            self.data_preprocessor, 'size', None)
        if shape is None:
            raise ValueError('the size at which GMACs count is not known; give '
                             'count_gmacs((H, W)), gmacs_shape=(H, W) or data_preprocessor.size')
        return count_network_gmacs(self, shape)

    def loss(self, inputs: Tensor, data_samples: Sequence) -> dict[str, Tensor]:
        """The stock network's losses; a ValueError where no hook takes a cost that was given."""
        options = {name: value for name, value in self.cost_options.items()
                   if name != 'gmacs_shape' and value != 0}
        if options and not self.has_cost_hook:
            raise ValueError(
                f'model.{" and model.".join(options)} has no effect without the hook that takes '
                "it: set custom_hooks=[dict(type='DynOPoolHook')]. In a training loop of your own, "
                'use mmseg_dynopool.learning.add_cost_gradient or ScaleLearner, and leave the '
                'option out')
        return super().loss(inputs, data_samples)


@MODELS.register_module()
class DynOPoolEncoderDecoder(LearnedNetwork, EncoderDecoder):
    """mmseg's ``EncoderDecoder`` whose backbone learns its resolutions.

    Args:
        *args: the arguments of ``EncoderDecoder``.
        dynopool: convert the backbone with these options, see
            [`DynOPoolBackbone`][mmseg_dynopool.models.DynOPoolBackbone]. Not for a
            ``DynOPoolHRNet``, which has its own.
        **kwargs: further arguments of ``EncoderDecoder``, and as in version 0.3 ``gmacs_weight``,
            ``gmacs_budget``, ``latency_budget`` and ``gmacs_shape``, which are handed to
            [`DynOPoolHook`][mmseg_dynopool.hooks.DynOPoolHook].

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
    """mmseg's ``CascadeEncoderDecoder`` (e.g. HRNet+OCR) whose backbone learns its resolutions.

    Its options beside those of ``CascadeEncoderDecoder`` are those of
    [`DynOPoolEncoderDecoder`][mmseg_dynopool.models.DynOPoolEncoderDecoder].

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
