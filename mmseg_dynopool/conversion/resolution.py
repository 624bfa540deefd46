"""What tracing a network records: resolutions, tensors, and the steps between resolutions."""

from __future__ import annotations

from dataclasses import dataclass, field

# Kernel, stride, padding and dilation, of height and width each, and ceil_mode.
Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int], bool]


class Resolution:
    """All tensors of one height and width, whatever the scales. Those that turn out equal unite.

    Args:
        size: ``(H, W)`` at the traced image size.
    """

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self._united: Resolution | None = None

    def find(self) -> Resolution:
        """The one that stands for all that were united with it."""
        resolution = self
        while resolution._united is not None:
            resolution = resolution._united
        return resolution

    def unite(self, other: Resolution) -> None:
        """The two are one from now on; the older, ``self``, stands for both."""
        if self.find() is not other.find():
            other.find()._united = self.find()

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]


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
        resolution: None where it has no height and width, or they are not known.
        ancestors: the resolutions of what it was computed from, by size.
        lost: where its resolution was lost, if it was.
        module, call: what computed it: the module's name and the number of its call.
        op: the operator.
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
        window: ``(kernel, stride, padding, dilation, ceil_mode)`` of a convolution or pooling.
        input, output: what went in and came out.
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
    def ratio(self) -> tuple[float, float]:
        """``(target / source)`` of height and width."""
        (height, width), source = self.target.size, self.source.size
        return height / source[0], width / source[1]

    @property
    def reduces(self) -> bool:
        """Whether it is a strided convolution or pooling."""
        return self.kind in ('conv', 'max', 'mean')
