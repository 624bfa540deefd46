"""Alpha's gradients side by side: straight through, and by central differences of the loss."""

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_dynopool.layers.find import all_pools, by_short_name

ANCHORS = (('local', 8), ('center', 8), ('corner', 8))
BATCHES = 16
STEP = 0.1


def compare_slopes(model, config) -> dict:
    """Slopes of the task loss by ``log(alpha)`` on batches of the training data.

    Returns:
        ``{instance: {name: [[mean_h, std_h], [mean_w, std_w]]}}`` over the batches; names are
        ``'local'``, ``'center'``, ``'corner'`` and ``'difference'``, in which one alpha at a
        time is changed by a factor of 1.1 and of 1 / 1.1.
    """
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batches = [model.data_preprocessor(pseudo_collate([dataset[8 * k + i] for i in range(8)]),
                                       True) for k in range(BATCHES)]
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 0.
    pools = by_short_name(all_pools(model))
    found = {name: {} for name in pools}
    for anchor, window in ANCHORS:
        for pool in pools.values():
            pool.anchor, pool.window = anchor, window
        slopes = {name: [] for name in pools}
        for batch in batches:
            model.zero_grad()
            _task_loss(model, batch).backward()
            for name, pool in pools.items():
                slopes[name].append((pool.alpha.grad * pool.alpha.detach()).tolist())
        for name, values in slopes.items():
            found[name][anchor] = _statistics(np.array(values))
    with torch.no_grad():
        for name, pool in pools.items():
            values = np.array([_difference(model, pool, axis, batches) for axis in (0, 1)])
            found[name]['difference'] = _statistics(values.T)
    return found


def _task_loss(model, batch):
    losses = model(**batch, mode='loss')
    return sum(value for name, value in losses.items() if 'loss_ce' in name)


def _difference(model, pool, axis: int, batches) -> list[float]:
    start = pool.alpha.clone()
    losses = []
    for factor in (1 + STEP, 1 / (1 + STEP)):
        pool.alpha[axis] = start[axis] * factor
        losses.append([float(_task_loss(model, batch)) for batch in batches])
        pool.alpha.copy_(start)
    return [(up - down) / (2 * np.log(1 + STEP)) for up, down in zip(*losses)]


def _statistics(values: np.ndarray) -> list[list[float]]:
    """Mean and sample standard deviation over the batches, ``(batches, 2)`` in, by axis."""
    return [[round(float(v.mean()), 5), round(float(v.std(ddof=1)), 5)] for v in values.T]
