"""The names of a converted network's levels."""

from __future__ import annotations

import re
from typing import NamedTuple

_PATTERN = re.compile(r'stride(\d+)(?:x(\d+))?(?:_(\d+))?')


class LevelName(NamedTuple):
    """A level's total strides in the stock network, of height and width, and its number.

    The number tells levels of equal strides apart.

    Example:
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
        """None where it is no name of a level."""
        found = _PATTERN.fullmatch(name)
        if found is None:
            return None
        height, width, number = found.groups()
        return cls((int(height), int(width or height)), int(number or 1))
