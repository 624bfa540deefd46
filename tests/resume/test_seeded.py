"""Samples as a function of seed and place."""

import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmseg.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import DataLoader, Dataset

from mmseg_dynopool.resume.seeded import SeededDataset, SeededIndex, SeededSampler, combined_seed


class Drawn(Dataset):
    """Samples of nothing but random numbers, from each generator that transforms use."""

    metainfo = dict(classes=('a', ))

    def full_init(self):
        pass

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return (index, random.random(), np.random.rand(), torch.rand(()).item())


@pytest.fixture(autouse=True)
def drawn():
    DATASETS.register_module(name='Drawn', module=Drawn)
    yield
    DATASETS.module_dict.pop('Drawn')


def loader(sampler='InfiniteSampler', workers=0, seed=7, **options):
    dataset = SeededDataset(dict(type='Drawn'))
    seeded = DATA_SAMPLERS.build(
        dict(type='SeededSampler', sampler=dict(type=sampler, shuffle=True)),
        default_args=dict(dataset=dataset, seed=seed))
    return DataLoader(dataset, 2, sampler=seeded, num_workers=workers,
                      collate_fn=lambda batch: batch, **options)


def batches(data, count):
    drawn = iter(data)
    return [next(drawn) for _ in range(count)]


def test_samples_do_not_depend_on_workers_or_the_past():
    expected = batches(loader(), 8)
    assert len({sample[1:] for batch in expected for sample in batch}) == 16
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    assert batches(loader(), 8) == expected
    assert batches(loader(workers=2, persistent_workers=True), 8) == expected
    assert batches(loader(seed=8), 8) != expected


@pytest.mark.skipif(not hasattr(InfiniteSampler, 'skip'),
                    reason="upstream's mmengine 0.10.7 cannot skip samples on resuming")
def test_skipping_goes_on_at_the_same_samples():
    expected = batches(loader(), 8)
    data = loader()
    data.sampler.skip(2 * 5)
    assert batches(data, 3) == expected[5:]


def test_epochs_differ_and_repeat():
    data = loader('DefaultSampler')
    assert not hasattr(data.sampler, 'skip') and isinstance(data.sampler.sampler, DefaultSampler)
    first = list(data)
    data.sampler.set_epoch(1)
    second = list(data)
    assert {s[1:] for b in first for s in b}.isdisjoint({s[1:] for b in second for s in b})
    again = loader('DefaultSampler')
    again.sampler.set_epoch(1)
    assert list(again) == second


def test_the_models_own_random_numbers_are_left_alone():
    data = SeededDataset(dict(type='Drawn'))
    found = []
    for draw in (False, True):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        if draw:
            data[SeededIndex(1, 99)]
        found.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert found[0] == found[1]


def test_a_seeded_data_set_is_still_a_data_set():
    data = SeededDataset(dict(type='Drawn'))
    data.full_init()
    assert len(data) == 6 and data.metainfo == dict(classes=('a', ))
    assert data[4][0] == 4
    index = pickle.loads(pickle.dumps(SeededIndex(4, 5)))
    assert (index.index, index.seed) == (4, 5)
    assert data[index] == data[SeededIndex(4, 5)] != data[SeededIndex(4, 6)]


def test_ranks_and_places_have_unrelated_seeds():
    seeds = {combined_seed(0, rank, epoch, i)
             for rank in range(3) for epoch in range(3) for i in range(100)}
    assert len(seeds) == 900
    assert isinstance(SeededSampler(Drawn(), dict(type='DefaultSampler')).seed, int)


class Own(Drawn):
    """Attributes of its own, and PyTorch's way to fetch a whole batch."""

    houses = (1, 3)

    def __getitems__(self, indices):
        raise AssertionError('each sample has its seed')


class ByHouses(DefaultSampler):
    """A sampler that asks for the kind of its data set, and for what others have not."""

    def __init__(self, dataset, **options):
        assert isinstance(dataset, Own)
        super().__init__(dataset, **options)
        self.chosen = dataset.houses

    def __iter__(self):
        return iter(self.chosen)


def test_nothing_of_the_data_set_and_its_sampler_is_hidden():
    data = SeededDataset(dict(type=Own))
    assert data.houses == (1, 3) and not hasattr(data, 'villages')
    data.houses = (5, )  # as hooks do between epochs
    assert data.dataset.houses == (5, )
    sampler = SeededSampler(data, dict(type=ByHouses, shuffle=False), seed=7)
    assert sampler.chosen == (5, ) and sampler.shuffle is False
    assert not hasattr(sampler, 'batch_size')
    batch, = DataLoader(data, 2, sampler=sampler, collate_fn=lambda batch: batch)
    assert batch == [data[SeededIndex(5, combined_seed(7, 0, 0, 0))]]
    copied = pickle.loads(pickle.dumps(data))
    assert copied.houses == (5, ) and copied[3][0] == 3
    plain = SeededDataset(torch.arange(4))  # built already, no data set of mmengine's
    assert not hasattr(plain, 'full_init') and not hasattr(plain, 'metainfo') and plain[3] == 3
