"""Sizes for networks whose losses are known."""

import copy
import json
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.layers.find import learned_pools
from mmseg_dynopool.search import search_sizes
from mmseg_dynopool.search.image_sizes import ImageSizes
from support.commands import on_two_processes

SHAPE = (96, 64)


def network(**options):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2),
                           nn.Conv2d(4, 8, 3, 2, 1))
    return convert_dynopool(layers, levels='image', **options)


def aspect(wanted):
    """A loss that is the least where height to width of the resized image is as wanted."""

    def loss(model, batch):
        height, width = model(batch).shape[-2:]
        return (torch.tensor(height / width / wanted).log().square() + batch.mean())

    return loss


def batches(count=6):
    return list(torch.rand(count, 2, 1, *SHAPE, generator=torch.Generator().manual_seed(1)))


def test_the_sizes_are_aligned_cost_what_they_may_and_none_is_inside_another():
    model = network()
    cost = probe_complexity(model, SHAPE, in_channels=1)
    name, = learned_pools(model)
    count = cost.counted(model)
    whole = count({name: [1, 1]})
    sizes_at = ImageSizes(cost, count, name, 8)
    found = sizes_at.at(0.5 * whole)
    sizes = [entry.size for entry in found]
    assert all(h % 8 == w % 8 == 0 for h, w in sizes)
    assert sizes == sorted(sizes) and [w for _, w in sizes] == sorted(
        (w for _, w in sizes), reverse=True)
    assert all(h * w <= 0.505 * 96 * 64 for h, w in sizes)
    # One step wider costs too much, or is out of bounds.
    assert all(h * (w + 8) > 0.5 * 96 * 64 or w + 8 > 4 * 64 for h, w in sizes)
    assert (24, 128) in sizes and (96, 32) in sizes  # enlarged along one axis, too
    for target, words in ((0.001, 'are out of reach'), (40., 'with an image of 24 x 16')):
        with pytest.raises(ValueError, match=words):
            sizes_at.at(target * whole)


def test_a_large_image_has_few_sizes_and_few_counts():
    """At multiples of 8 there are 240 heights of a megapixel."""
    model = network()
    cost = probe_complexity(model, (1024, 1024), in_channels=1)
    name, = learned_pools(model)
    count, counts = cost.counted(model), []
    found = ImageSizes(cost, lambda alphas: (counts.append(1), count(alphas))[1], name, 8).at(
        0.5 * count({name: [1, 1]}))
    assert 20 <= len(found) <= 50 and len(counts) <= 80
    ratios = [b.aspect - a.aspect for a, b in pairwise(found)]
    assert max(ratios) < 0.3 and min(abs(size.aspect) for size in found) < 0.05
    assert all(0.48 < size.cost / count({name: [1, 1]}) <= 0.505 for size in found)


@pytest.mark.parametrize('wanted', [0.4, 1.5, 3.0])
def test_the_size_of_the_least_loss_is_found(wanted):
    model = network(multiple=8)
    cost = probe_complexity(model, SHAPE, in_channels=1)
    found = search_sizes(model, aspect(wanted), batches(), cost, 0.5)
    losses = [abs(torch.tensor(h / w / wanted).log().item()) for h, w in (
        entry.size for entry in found.tried)]
    assert losses[0] == min(losses)
    plain = found.tried[found.plain].size
    assert plain[0] / plain[1] == pytest.approx(1.5, rel=0.2)


def kept(**options):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 1, 1), nn.ReLU(),
                           nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1))
    return convert_dynopool(layers, 'keep', image=True, multiple=8, **options)


def test_inner_levels_resize_where_that_loses_less():
    """Losses that want large images whose inner map is narrow, or that want no such thing."""
    model = kept()
    cost = probe_complexity(model, SHAPE, in_channels=1)
    name = next(n for n in learned_pools(model) if n.endswith('stride4'))

    def loss(model, batch):
        return float(batch.mean()) - wish * pixels(model, batch)

    def pixels(model, batch):
        return model.dynopools['image'](batch).numel() / batch.numel()

    wish = 1.0
    found = search_sizes(model, loss, batches(), cost, 0.5)
    best = found.best
    assert best.inner and list(best.inner) == [name]
    assert min(best.inner[name]) == 0.5 and 'stride4 by' in str(best)
    assert best.cost <= 0.51 * cost.initial
    largest = max(size.scale[0] * size.scale[1] for size in found.tried)
    assert best.scale[0] * best.scale[1] == largest > 0.55
    assert not found.tried[found.plain].inner
    assert [pool.scale.tolist() for pool in model.dynopools.values()] == [[1, 1], [1, 1]]
    wish = -1.0
    assert not search_sizes(model, loss, batches(), cost, 0.5).best.inner


def test_nothing_of_the_model_changes_and_the_search_repeats_itself():
    model = network(multiple=8)
    model.train()
    before = copy.deepcopy(model.state_dict())
    cost = probe_complexity(model, SHAPE, in_channels=1)

    def loss(model, batch):
        return F.dropout(model(batch)).square().mean()

    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = (search_sizes(model, loss, batches(), cost, 0.5, seed=3) for _ in range(2))
    assert first == second
    assert first != search_sizes(model, loss, batches(), cost, 0.5, seed=4)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_two_processes_find_the_same():
    """By the mean of their losses: each alone wants the opposite of the other."""
    first, second = json.loads(on_two_processes('search_worker'))
    assert first == second and len(first) > 3
    height, width = first[0]
    assert 0.5 <= height / width <= 2


def test_norms_take_the_statistics_of_the_batch_and_dropout_rests():
    model, seen = network(multiple=8), []

    def loss(model, batch):
        seen.append([m.training for m in model.modules() if isinstance(
            m, nn.BatchNorm2d | nn.Dropout)])
        return model(batch).square().mean()

    search_sizes(model.eval(), loss, batches(2), probe_complexity(model, SHAPE, in_channels=1), 0.5)
    assert seen and all(modes == [True, False] for modes in seen)
    assert not any(module.training for module in model.modules())


def test_what_cannot_be_searched():
    model = network()
    cost = probe_complexity(model, SHAPE, in_channels=1)
    with pytest.raises(ValueError, match='needs batches with labels, got none'):
        search_sizes(model, aspect(1.), [], cost, 0.5)
    with pytest.raises(ValueError, match='has 0 levels that resize its image'):
        search_sizes(nn.Conv2d(1, 1, 1), aspect(1.), batches(), cost, 0.5)
