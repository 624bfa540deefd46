"""What a hook has to know of a batch before the training sees it."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import broadcast_object_list
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor

from mmseg_dynopool.learning.two_passes import undisturbed
from mmseg_dynopool.models.whole_network import unwrap

from .optimizers import wrappers


def shape_of(model: BaseModel, data_batch: Any) -> tuple[int, int]:
    """``(H, W)`` of a batch as the network gets it; no random numbers are used up."""
    with torch.no_grad(), undisturbed(model):
        inputs = model.data_preprocessor(copy.deepcopy(data_batch), True)['inputs']
    shape = [(inputs.shape[-2], inputs.shape[-1])]
    broadcast_object_list(shape)  # ranks may begin with unlike images
    return shape[0]


def loss_on(runner: Runner, data_batch: Any) -> Callable[[], Tensor]:
    """A function that tells the task's loss on a batch, as the training has it.

    The batch is copied: preprocessors pad labels in place, and Mixup writes into them.
    """
    model: BaseModel = unwrap(runner.model)
    wrapper = wrappers(runner)[0]

    def loss() -> Tensor:
        with wrapper.optim_context(model):
            data = model.data_preprocessor(copy.deepcopy(data_batch), True)
            losses = model._run_forward(data, mode='loss')
        return model.parse_losses(losses)[0]

    return loss
