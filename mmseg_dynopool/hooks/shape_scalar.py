"""The names under which the scalars of learned shapes are logged."""

import re
from typing import NamedTuple

_KEY = re.compile(r'(?:train/)?dynopool/(.+)/([a-z_]+)_([hw])')
LEARNING_RATE = 'dynopool/lr'


class ShapeScalar(NamedTuple):
    """One scalar of one axis, logged as ``dynopool/<instance>/<quantity>_<axis>``.

    Attributes:
        instance: of the DynOPool, e.g. ``'stream1'`` or ``'stride8'``; of ``size`` also
            ``'input'`` and ``'stream0'``.
        quantity: ``'alpha'``, ``'scale'`` or ``'size'``; of a learner ``'slope'`` or
            ``'slope_noise'``; of an optimizer ``'grad_mean'``, ``'grad_std'`` or ``'grad_snr'``.
        axis: ``'h'`` or ``'w'``.

    Examples:
        >>> from mmseg_dynopool.hooks.shape_scalar import ShapeScalar
        >>> ShapeScalar.parse('dynopool/stream1/scale_h')
        ShapeScalar(instance='stream1', quantity='scale', axis='h')
    """

    instance: str
    quantity: str
    axis: str

    @property
    def key(self) -> str:
        """The name in logs, without the prefix of the mode."""
        return f'dynopool/{self.instance}/{self.quantity}_{self.axis}'

    @classmethod
    def parse(cls, key: str) -> 'ShapeScalar | None':
        """The inverse of `key`, with or without ``train/``; None for another scalar."""
        match = _KEY.fullmatch(key)
        return cls(*match.groups()) if match else None
