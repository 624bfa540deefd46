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
    """``(H, W)`` of a batch as the network gets it; no random numbers are used up.

    Raises:
        ValueError: it has no ``inputs`` that are images.
    """
    try:
        with torch.no_grad(), undisturbed(model):
            inputs = model.data_preprocessor(copy.deepcopy(data_batch), True)['inputs']
        image = inputs if isinstance(inputs, Tensor) else inputs[0]
        shape = [(image.shape[-2], image.shape[-1])]
    except Exception as error:  # from any preprocessor, of any type
        raise ValueError('the size of an image cannot be told from a batch '
                         f'({type(error).__name__}: {error}); give DynOPoolHook '
                         'gmacs_shape=(H, W)') from error
    broadcast_object_list(shape)  # ranks may begin with unlike images
    return shape[0]


def loss_on(runner: Runner, data_batch: Any) -> Callable[[], Tensor]:
    """A function that tells the task's loss on a batch, as the training has it.

    The batch is copied: preprocessors pad labels in place, and Mixup writes into them.

    Raises:
        ValueError: the model does not take it by ``mode='loss'``.
    """
    model: BaseModel = unwrap(runner.model)
    wrapper = wrappers(runner)[0]

    def loss() -> Tensor:
        with wrapper.optim_context(model):
            data = model.data_preprocessor(copy.deepcopy(data_batch), True)
            try:
                losses = model._run_forward(data, mode='loss')
            except TypeError as error:
                raise ValueError(
                    f"{type(model).__name__} does not give its losses by forward(..., mode='loss') "
                    f'as mmengine has it ({error}), so what a scale does to them cannot be '
                    "measured; let it, or set DynOPoolHook's gradient='straight_through'"
                ) from error
        return model.parse_losses(losses)[0]

    return loss
