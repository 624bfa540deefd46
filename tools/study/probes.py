"""What a trained network says beside its mIoU: at other sizes, and behind maps of odd heights."""

import copy

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmseg.registry import MODELS

from mmseg_dynopool.analysis.evaluation import evaluate
from mmseg_dynopool.fit.settings import resized_config
from mmseg_dynopool.layers.find import all_pools, by_short_name
from mmseg_dynopool.layers.image import IMAGE
from mmseg_dynopool.models.cost import watch_shapes

from .candidates import ALIGNED, at_size

FACTORS = (0.75, 1., 1.25, 1.5)
# Rows more and less than a strided layer is used to. Four more leave the parity of its output as it
# is, too; three change the parity, and are nearer to the size of the training.
SAME, OTHER = (-4, 4), (-3, 3)


def at_other_sizes(model: BaseModel, cfg: Config) -> dict[str, float]:
    """mIoU on validation images of other sizes than the training's, labels in full, no padding."""
    scores = {}
    for factor in FACTORS:
        height, width = (ALIGNED * round(n * factor / ALIGNED)
                         for n in cfg.model.data_preprocessor.size)
        resized = copy.deepcopy(cfg)
        resized.merge_from_dict(at_size(height, width))
        scores[f'{height}x{width}'] = round(evaluate(model.eval(), resized).score(), 2)
    return scores


def behind_odd_maps(model: BaseModel, cfg: Config) -> dict[str, dict[str, float]]:
    """mIoU of a trained stock network, with one map resized in front of the layer that strides.

    Returns:
        ``{'LEVEL, HEIGHT': {ROWS: mIoU}}``; ``ROWS`` are added to the stock map's height.
    """
    kept = MODELS.build(resized_config(cfg, levels='all').model)
    absent = kept.load_state_dict(model.state_dict(), strict=False).missing_keys
    assert all('dynopools' in name for name in absent), absent
    kept.eval()
    one = copy.deepcopy(cfg)
    one.val_dataloader.dataset.indices = 1
    scores: dict[str, dict[str, float]] = {}
    for name, pool in by_short_name(all_pools(kept)).items():
        if name == IMAGE:
            continue
        with watch_shapes(pool) as seen:
            evaluate(kept, one)
        (height, _), = seen
        # Past its own alignment and bounds.
        pool.multiple, pool.bounds = 1, (0.25, 4.)
        found = scores[f'{name}, {height}'] = {}
        for rows in sorted(SAME + OTHER):
            pool.alpha.data.copy_(torch.tensor([height / (height + rows), 1.]))
            found[str(rows)] = round(evaluate(kept, cfg).score(), 2)
        pool.alpha.data.fill_(1.)
    return scores


def other_less_same(scores: dict[str, float]) -> float:
    """mIoU at heights of the other parity, less that one row further."""
    other, same = ([scores[str(rows)] for rows in group] for group in (OTHER, SAME))
    return sum(other) / len(other) - sum(same) / len(same)
