"""Sizes of the image for a trained network, by its losses at them."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mmseg_dynopool.costs import Cost
from mmseg_dynopool.layers import ImageResize
from mmseg_dynopool.layers.find import all_pools
from mmseg_dynopool.layers.image import image_levels
from mmseg_dynopool.learning.two_passes import mean_over_ranks, seed_all, undisturbed

from .image_sizes import ImageSize, ImageSizes
from .race import Race, Racer

# Of one inner level: both axes, or one.
_INNER_SCALES = tuple(pair for s in (0.75, 0.5) for pair in ((s, s), (s, 1.0), (1.0, s)))


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Attributes:
        tried: the sizes, the best first.
        racers: the losses of each, in the same order.
        plain: the place in ``tried`` of the plain smaller input, whose aspect is nearest to the
            image's own.
    """

    tried: tuple[ImageSize, ...]
    racers: tuple[Racer, ...]
    plain: int

    @property
    def best(self) -> ImageSize:
        """The size of the lowest loss."""
        return self.tried[0]


def search_sizes(model: nn.Module, loss: Callable[[nn.Module, Any], Tensor | float],
                 batches: Sequence[Any], cost: Cost, target: float, first: int = 2, keep: int = 3,
                 seed: int = 0, on_round: Callable[[int, int], None] | None = None
                 ) -> SearchResult:
    """Find the sizes at which a trained network has the lowest loss, at a given cost.

    They are sizes of its image; if there are inner levels, one of these may resize, too, with an
    image that is larger by what that saves.

    No weight changes. The same batches and random numbers serve all sizes. Norms use the batch's
    statistics: the running ones belong to the size at which the network was trained. The loss of
    the untouched network ranks sizes of equal cost much as their fine-tunings do, but does not tell
    apart sizes close to each other.

    Args:
        model: with an `ImageResize` of its image, ``convert_dynopool(network, levels='image')``;
            also of inner maps, ``convert_dynopool(network, 'keep', image=True)``.
        loss: ``loss(model, batch)`` runs the model on a batch and gives its loss.
        batches: of training data, as many as there is time for; 16 of 8 images will do. In a
            distributed training each process has its own, as many, and all find the same.
        cost: of the model, e.g. ``probe_complexity(model, (512, 1024))``.
        target: wanted cost, relative to that of the image at its own size.
        first: batches of the race's first round.
        keep: sizes that stay in to the end.
        seed: of random numbers, such as dropout's.
        on_round: gets the passes that are done, and the batches, after each round.

    Raises:
        ValueError: the model has no such level, there are no batches, or the target is out of
            reach.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from mmseg_dynopool.conversion import convert_dynopool
        >>> from mmseg_dynopool.costs import probe_complexity
        >>> from mmseg_dynopool.search import search_sizes
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8))
        >>> model = convert_dynopool(network, levels='image')
        >>> cost = probe_complexity(model, (64, 96))
        >>> batches = [torch.rand(2, 3, 64, 96) for _ in range(4)]
        >>> found = search_sizes(model, lambda m, x: m(x).square().mean(), batches, cost, 0.5)
        >>> found.best.cost <= 0.51 * cost.initial
        True
    """
    batches = list(batches)
    if not batches:
        raise ValueError('a search needs batches with labels, got none')
    levels = {name: pool for name, pool in all_pools(model).items()
              if isinstance(pool, ImageResize)}
    images = list(image_levels(model))
    if len(images) != 1:
        raise ValueError(
            f'{type(model).__name__} has {len(images)} levels that resize its image, and a search '
            "needs one: convert_dynopool(network, levels='image') gives it")
    name, = images
    counted = cost.counted(model)
    sizes = ImageSizes(cost, counted, name, levels[name].multiple, levels[name].bounds)
    wanted = target * counted({other: [1.0, 1.0] for other in levels})
    at_start = {other: (1.0, 1.0) for other in levels if other != name}
    before = {level: level.parameter.detach().clone() for level in levels.values()}
    known: dict[tuple[int, int], float] = {}

    def race(tried: Sequence[ImageSize]) -> tuple[list[ImageSize], list[Racer]]:
        def lose(candidate: int, batch: int) -> float:
            size = tried[candidate]
            key = id(size), batch
            if key not in known:  # else from the race of the image alone
                for other, scale in {**at_start, name: size.scale, **size.inner}.items():
                    levels[other].set_alpha_([1 / s for s in scale])
                with undisturbed(model):
                    seed_all(seed + batch)
                    known[key] = float(mean_over_ranks(
                        loss(model, batches[batch]), levels[name].parameter.device))
            return known[key]

        run = Race(lose, len(tried), len(batches), first, keep, on_round)
        order, racers = run.run(), run.racers
        return [tried[c] for c in order], [racers[c] for c in order]

    try:
        with torch.no_grad(), norms_by_batch(model):
            tried, racers = race(sizes.at(wanted, at_start))
            aspects = [size.aspect for size in tried[:keep]]
            inner = list(tried)
            # One of the inner levels resizes, too, and images of about the best aspects pay less.
            for level, scale in itertools.product(at_start, _INNER_SCALES):
                with suppress(ValueError):  # no image in its bounds is so large that it costs that
                    inner += sizes.at(wanted, at_start | {level: scale}, aspects)
            if at_start:
                tried, racers = race(inner)
    finally:
        with torch.no_grad():
            for resize, parameter in before.items():
                resize.parameter.copy_(parameter)
    plain = min((c for c, size in enumerate(tried) if not size.inner),
                key=lambda c: abs(tried[c].aspect))
    return SearchResult(tuple(tried), tuple(racers), plain)


@contextmanager
def norms_by_batch(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, except its norms, which use the batch's statistics."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    for module in modes:
        if isinstance(module, _BatchNorm | _InstanceNorm):
            module.train()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
