"""Segmentors whose loss contains the cost of the network (main paper, the complexity term)."""

import math
from collections.abc import Sequence

from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_dynopool.complexity import ComplexityModel, probe_complexity
from mmseg_dynopool.layers import DynOPool


class _GMACsLoss:
    """Adds ``loss_gmacs = gmacs_weight * GMACs`` to a segmentor's losses.

    GMACs are those of the network in tensor mode (without auxiliary heads) at the training crop
    and the scales of the moment, in units of 1e9.
    """

    def __init__(self,
                 *args,
                 gmacs_weight: float = 7e-5,
                 gmacs_shape: Sequence[int] | None = None,
                 **kwargs):
        if not (isinstance(gmacs_weight, (int, float)) and math.isfinite(gmacs_weight)
                and gmacs_weight >= 0):
            raise ValueError('gmacs_weight must be a finite number >= 0, got '
                             f'{gmacs_weight!r}; 0 leaves the cost out of the loss')
        if gmacs_shape is not None and (len(gmacs_shape) != 2 or min(gmacs_shape) < 1):
            raise ValueError('gmacs_shape must be (H, W) with sizes >= 1, got '
                             f'{gmacs_shape!r}')
        super().__init__(*args, **kwargs)
        self.gmacs_weight = gmacs_weight
        self.gmacs_shape = gmacs_shape
        self._complexity = None
        if not any(isinstance(m, DynOPool) for m in self.modules()):
            raise ValueError(
                f'{type(self).__name__} needs a network with DynOPools, but backbone '
                f'{type(self.backbone).__name__} holds none; set '
                "model.backbone.type='DynOPoolHRNet', or use the stock segmentor")

    def complexity(self, shape: Sequence[int] | None = None) -> ComplexityModel:
        """The network's cost as a function of its alphas.

        Args:
            shape: input size ``(H, W)``; default ``gmacs_shape``, else the training crop.
        """
        shape = shape or self.gmacs_shape or getattr(self.data_preprocessor, 'size', None)
        if shape is None:
            raise ValueError('the size at which GMACs count is not known; set '
                             'model.gmacs_shape=(H, W) or data_preprocessor.size')
        channels = next(m.in_channels for m in self.backbone.modules()
                        if isinstance(m, nn.Conv2d))
        return probe_complexity(self, shape, channels,
                                lambda network, image: network._forward(image))

    def loss(self, inputs: Tensor, data_samples) -> dict:
        """Losses of the segmentor, and ``loss_gmacs``, ``gmacs`` and ``gmacs_ratio``.

        ``gmacs_ratio`` is the cost relative to the start of training.
        """
        losses = super().loss(inputs, data_samples)
        if self._complexity is None:
            known = self.gmacs_shape or getattr(self.data_preprocessor, 'size', None)
            self._complexity = self.complexity(known or inputs.shape[-2:])
        # Looked up each time: a module that wraps the model may have replaced its parameters.
        alphas = {
            name: module.bounded_alpha()
            for name, module in self.named_modules() if isinstance(module, DynOPool)
        }
        gmacs = self._complexity.gmacs(alphas)
        losses['loss_gmacs'] = (self.gmacs_weight * gmacs).float()
        losses['gmacs'] = gmacs.detach().float()
        losses['gmacs_ratio'] = losses['gmacs'] / self._complexity.initial_gmacs
        return losses


@MODELS.register_module()
class DynOPoolEncoderDecoder(_GMACsLoss, EncoderDecoder):
    """mmseg's ``EncoderDecoder`` with the cost of the learned resolutions in its loss.

    Args:
        *args, **kwargs: the arguments of ``EncoderDecoder``.
        gmacs_weight: lambda of the paper, per 1e9 multiply-adds.
        gmacs_shape: input size ``(H, W)`` at which GMACs count; default: the data
            preprocessor's ``size``, else the size of the first training batch.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.
    """


@MODELS.register_module()
class DynOPoolCascadeEncoderDecoder(_GMACsLoss, CascadeEncoderDecoder):
    """mmseg's ``CascadeEncoderDecoder`` (e.g. HRNet+OCR) with the cost in its loss.

    Args:
        *args, **kwargs: the arguments of ``CascadeEncoderDecoder``.
        gmacs_weight, gmacs_shape: see :class:`DynOPoolEncoderDecoder`.

    Raises:
        ValueError: a value is malformed, or the network holds no DynOPool.
    """
