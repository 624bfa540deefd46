"""What an exported file computes."""

import torch
from mmseg.models import BaseSegmentor
from torch import Tensor, nn

from .freeze import freeze_pools


class InferenceNetwork(nn.Module):
    """A copy of a segmentor as a function of tensors: image to logits, with fixed scales."""

    def __init__(self, model: BaseSegmentor):
        super().__init__()
        self.segmentor = freeze_pools(model).cpu().float()
        self.segmentor.eval()
        self.segmentor.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(N, classes, H, W)`` of an image ``(N, 3, H, W)``, as float32.

        ``image`` is what mmseg's data preprocessor returns: normalized, padded, RGB or BGR.
        """
        size = torch.Size(image.shape[2:])
        return self.segmentor.encode_decode(image, [dict(img_shape=size, pad_shape=size)])
