"""Training batches for a search: the same for all sizes, with every class in them."""

from collections import Counter
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from rich.progress import track
from torch import nn

from mmseg_dynopool.config import enter_scope
from mmseg_dynopool.learning.two_passes import seed_all, undisturbed

from .settings import training_data

_LOOKED_AT = 4  # times as many images as are taken
_EACH = 2  # images, at least, that hold a class


def draw_batches(cfg: Config, count: int, seed: int = 0) -> list[Any]:
    """Batches of a config's training data, augmented once, in which no class is missing.

    Of four times as many images, those with the rarest classes are taken first, the rest at
    random. A data set with fewer images gives fewer batches.

    Raises:
        ValueError: there are no training data.
    """
    settings = training_data(cfg)
    enter_scope(cfg)
    dataset = DATASETS.build(settings)
    size = cfg.train_dataloader.get('batch_size') or 1
    wanted = min(count * size, len(dataset) // size * size) or len(dataset)
    order = np.random.default_rng(seed).permutation(len(dataset))[:_LOOKED_AT * wanted]
    with undisturbed(nn.Module()):  # random states
        seed_all(seed)
        samples = [dataset[int(i)] for i in track(order, 'training images', transient=True)]
    chosen = choose([classes_in(sample) for sample in samples], wanted, seed)
    return [pseudo_collate([samples[i] for i in chosen[start:start + size]])
            for start in range(0, wanted, size)]


def classes_in(sample: dict) -> set[int]:
    """The labels of a packed sample; empty if they are of another kind."""
    truth = sample.get('data_samples', {})
    if 'gt_sem_seg' in truth:
        return set(truth.gt_sem_seg.data.unique().tolist())
    return set(truth.gt_label.tolist()) if 'gt_label' in truth else set()


def choose(classes: list[set[int]], wanted: int, seed: int) -> list[int]:
    """Indices of images among which each class occurs at least twice, if it can."""
    images_of = Counter(c for held in classes for c in held)
    chosen: list[int] = []
    for rare, _ in sorted(images_of.items(), key=lambda pair: (pair[1], pair[0])):
        have = sum(rare in classes[i] for i in chosen)
        more = [i for i, held in enumerate(classes) if rare in held and i not in chosen]
        chosen += more[:max(0, _EACH - have)]
    chosen = chosen[:wanted]
    chosen += [i for i in range(len(classes)) if i not in chosen][:wanted - len(chosen)]
    return np.random.default_rng(seed).permutation(chosen).tolist()
