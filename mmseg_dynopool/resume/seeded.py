"""Random augmentation as a function of a sample's place in the training.

The generators of stock loaders depend on all that came before, separately in each worker process.
Here every sample is drawn with a seed of its own: the data of iteration k are the same whether or
not the run was interrupted, and whatever the number of workers.
"""

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset, Sampler


class SeededIndex(NamedTuple):
    """Index of a sample, with the seed to draw it with."""

    index: int  # type: ignore[assignment]  # not the method of tuples
    seed: int


@DATA_SAMPLERS.register_module()
class SeededSampler(Sampler):
    """A sampler that gives [`SeededDataset`][mmseg_dynopool.resume.SeededDataset] a seed per index.

    Args:
        dataset: the data set to sample from.
        sampler: the sampler's config, e.g. `dict(type='InfiniteSampler', shuffle=True)`.
        seed: of order and augmentation; default: one that all processes agree on.

    Examples:
        >>> from mmseg.registry import DATA_SAMPLERS
        >>> import mmseg_dynopool
        >>> cfg = dict(type='SeededSampler', sampler=dict(type='InfiniteSampler', shuffle=False))
        >>> sampler = DATA_SAMPLERS.build(cfg, default_args=dict(dataset=range(4), seed=0))
        >>> next(iter(sampler))
        SeededIndex(index=0, seed=2968811710)
    """

    def __init__(self, dataset: Dataset, sampler: dict, seed: int | None = None):
        self.seed = sync_random_seed() if seed is None else seed
        if isinstance(dataset, SeededDataset):  # a sampler may look at its data set's type
            dataset = dataset.dataset
        self.sampler = DATA_SAMPLERS.build(
            sampler, default_args=dict(dataset=dataset, seed=self.seed))
        self.rank = get_dist_info()[0]
        self.epoch = 0
        self.start = 0

    def __iter__(self) -> Iterator[SeededIndex]:
        for position, index in enumerate(self.sampler, self.start):
            yield SeededIndex(index, combined_seed(self.seed, self.rank, self.epoch, position))

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, as mmengine's hooks and loops do."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def __getattr__(self, name: str) -> Any:
        found = _attribute_of(self, 'sampler', name)
        # mmengine fast-forwards samplers that have this method, when it resumes.
        return self._skip if name == 'skip' else found

    def _skip(self, num_samples: int) -> None:
        self.start = num_samples
        self.sampler.skip(num_samples)


@DATASETS.register_module()
class SeededDataset(Dataset):
    """The data set of a config, each sample drawn with the seed that comes with its index.

    The indices are those of [`SeededSampler`][mmseg_dynopool.resume.SeededSampler]. All other
    attributes are read from, and set on, the data set.

    Args:
        dataset: the data set or its config.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.resume import SeededDataset, SeededSampler
        >>> class Noise:
        ...     def __getitem__(self, index):
        ...         return torch.rand(3, 64, 64)
        >>> dataset = SeededDataset(dict(type=Noise))  # or dict(type='CityscapesDataset', ...)
        >>> sample = next(iter(SeededSampler(range(4), dict(type='InfiniteSampler'), seed=0)))
        >>> (dataset[sample] - dataset[sample]).abs().max()
        tensor(0.)
    """

    def __init__(self, dataset: dict | Dataset):
        built = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.__dict__['dataset'] = built

    def __getattr__(self, name: str) -> Any:
        return _attribute_of(self, 'dataset', name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.dataset, name, value)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: SeededIndex | int) -> Any:
        if not isinstance(index, SeededIndex):
            return self.dataset[index]
        # The model's own random numbers go on where they were.
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            random.seed(index.seed)
            np.random.seed(index.seed)
            torch.default_generator.manual_seed(index.seed)
            return self.dataset[index.index]
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])


def _attribute_of(owner: object, inner: str, name: str) -> Any:
    """An attribute of what is wrapped, unless it is of one of Python's or PyTorch's protocols."""
    if name.startswith('__') or inner not in owner.__dict__:  # as before it is unpickled
        raise AttributeError(f'{type(owner).__name__} has no attribute {name!r}')
    return getattr(owner.__dict__[inner], name)


def combined_seed(*numbers: int) -> int:
    """One 32-bit seed from several numbers; neighbours give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
