"""What tracing a network records: resolutions, tensors, and the steps between resolutions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

# Kernel, stride, padding and dilation, of height and width each, and ceil_mode.
Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int], bool]


class Resolution:
    """All tensors of one height and width, whatever the scales. Those that turn out equal unite.

    ``size`` is ``(H, W)`` at the traced image size.
    """

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self._united: Resolution | None = None

    def __str__(self) -> str:
        return '{} x {}'.format(*self.size)

    def find(self) -> Resolution:
        """The one that represents all that were united with it."""
        resolution = self
        while resolution._united is not None:
            resolution = resolution._united
        return resolution

    def unite(self, other: Resolution) -> None:
        """Make the two one from now on, represented by ``self``, the older."""
        if self.find() is not other.find():
            other.find()._united = self.find()

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]


class LevelName(NamedTuple):
    """A level's total strides in the stock network, and its number among those of equal strides.

    Examples:
        >>> str(LevelName((4, 2), 2))
        'stride4x2_2'
        >>> LevelName.parse('stride8')
        LevelName(strides=(8, 8), number=1)
    """

    strides: tuple[int, int]
    number: int = 1

    def __str__(self) -> str:
        strides = 'x'.join(map(str, dict.fromkeys(self.strides)))
        return f'stride{strides}' + (f'_{self.number}' if self.number > 1 else '')

    @classmethod
    def parse(cls, name: str) -> LevelName | None:
        """The inverse of ``str``; None for another name."""
        found = re.fullmatch(r'stride(\d+)(?:x(\d+))?(?:_(\d+))?', name)
        if found is None:
            return None
        height, width, number = found.groups()
        return cls((int(height), int(width or height)), int(number or 1))


@dataclass(eq=False)
class LostResolution:
    """An operator whose output has none of its inputs' resolutions.

    Attributes:
        module, op: where.
        source: the resolutions that went in.
        weighted: layers with weights work on what came out.
        returned: something that was computed from it has one of ``source`` again.
    """

    module: str
    op: str
    source: list[Resolution]
    weighted: bool = False
    returned: bool = False


@dataclass(eq=False)
class Value:
    """One tensor of the traced forward pass.

    Attributes:
        resolution: None if it has no height and width, or they are unknown.
        ancestors: the resolutions of what it was computed from, by size.
        lost: where its resolution was lost, if it was.
        module, call, op: what computed it: the module, the number of its call, the operator.
        users: the values computed from it.
    """

    resolution: Resolution | None
    ancestors: dict[tuple[int, int], Resolution] = field(default_factory=dict)
    lost: list[LostResolution] = field(default_factory=list)
    module: str = ''
    call: int = 0
    op: str = ''
    users: list[Value] = field(default_factory=list)


@dataclass(eq=False)
class Step:
    """An operator call that leads from one resolution to another.

    Attributes:
        kind: ``'conv'``, ``'max'``, ``'mean'`` (strided); ``'margin'`` (stride 1, unpadded);
            ``'factor'`` (resizing by a fixed factor, transposed convolutions, too) or ``'follow'``
            (resizing to a given size).
        window: of a convolution or pooling.
    """

    kind: str
    module: str
    call: int
    source: Resolution
    target: Resolution
    window: Window | None
    input: Value
    output: Value

    @property
    def ends(self) -> tuple[Resolution, Resolution]:
        """``source`` and ``target`` as they are united by now."""
        return self.source.find(), self.target.find()

    @property
    def ratio(self) -> tuple[float, float]:
        """``(target / source)`` of height and width."""
        (height, width), source = self.target.size, self.source.size
        return height / source[0], width / source[1]

    @property
    def reduces(self) -> bool:
        """Whether it is a strided convolution or pooling."""
        return self.kind in ('conv', 'max', 'mean')
