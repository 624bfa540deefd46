"""Sizes of a converted network's levels, from the image's size and the alphas alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmseg_dynopool.ops import aligned_size

from .levels import Levels
from .resolution import Resolution, Step, Window
from .trace import Tracer

_IMAGE = 0


@dataclass(frozen=True)
class SizeChain:
    """How each resolution follows from another one, in order.

    Attributes:
        links: ``(resolution, its source, rule)``. The resolutions are numbers, 0 the image's. The
            rule is a level's name, the window of a fixed convolution or pooling, or None if
            nothing changes.
        multiple: cells to whose multiples the levels' sizes are rounded.
    """

    links: tuple[tuple[int, int, str | Window | None], ...]
    multiple: int = 1

    @classmethod
    def of(cls, trace: Tracer, found: Levels, kept: int | None) -> SizeChain | None:
        """None if a level's size depends on more, such as an interpolation to a given size.

        ``kept`` is the multiple of levels in front of layers that keep their strides.
        """
        pooled = {step: level.name for level in found.levels for step in level.steps}
        absorbed = {step for level in found.levels for step in level.absorbed}
        # Of resolutions, and of steps whose level stands in front of them.
        numbers: dict[Resolution | Step, int] = {trace.image.find(): _IMAGE}
        links: list[tuple[int, int, str | Window | None]] = []

        def link(target: Resolution | Step, start: int, rule: str | Window | None) -> int:
            numbers[target] = len(numbers)
            links.append((numbers[target], start, rule))
            return numbers[target]

        for step in trace.steps:
            source, target = step.ends
            if source not in numbers or target in numbers or not step.window or (
                    step.kind == 'factor'):
                continue
            start = numbers[source]
            if step in pooled and kept:
                link(target, link(step, start, pooled[step]), step.window)
            elif step in pooled:
                link(target, start, pooled[step])
            else:
                link(target, start, None if step in absorbed else step.window)
        named = {rule for _, _, rule in links}
        return cls(tuple(links), kept or 1) if all(
            level.name in named for level in found.levels) else None

    def sizes(self, image_size: Sequence[int], alphas: Mapping[str, Sequence[float]]
              ) -> dict[str, tuple[int, int]]:
        """``(H, W)`` behind each level's DynOPool for an image of ``(H, W)`` pixels."""
        known = {_IMAGE: (image_size[0], image_size[1])}
        levels = {}
        for target, source, rule in self.links:
            if isinstance(rule, str):
                levels[rule] = known[target] = aligned_size(
                    known[source], alphas[rule], self.multiple)
            elif rule is None:
                known[target] = known[source]
            else:
                kernel, stride, padding, dilation, up = rule
                height, width = (_positions(*axis, up) for axis in zip(
                    known[source], kernel, stride, padding, dilation))
                known[target] = height, width
        return levels


def _positions(n: int, kernel: int, stride: int, padding: int, dilation: int, up: bool) -> int:
    """How many positions a window has that slides over ``n`` pixels."""
    free = n + 2 * padding - dilation * (kernel - 1) - 1
    if not up:
        return free // stride + 1
    count = -(-free // stride) + 1
    # The last window has to begin inside the input or its left padding.
    return count - 1 if (count - 1) * stride >= n + padding else count
