"""The names under which the scalars of learned shapes are logged, and a log line without them."""

import re
from typing import NamedTuple

from mmengine.registry import LOG_PROCESSORS
from mmengine.runner import LogProcessor, Runner

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


@LOG_PROCESSORS.register_module()
class DynOPoolLogProcessor(LogProcessor):
    """mmengine's line with one short entry per DynOPool instead of a dozen.

    ``stream1: 0.458 x 0.461 (18 x 18)``: the learned scales and, where they are logged, the
    feature size, height first. Only the text is shorter: the visualizer's backends, and with them
    TensorBoard and `scalars.json`, get every scalar of
    [`ShapeLogHook`][mmseg_dynopool.hooks.ShapeLogHook].

    Use it by ``log_processor=dict(type='DynOPoolLogProcessor', ...)``; options are those of
    mmengine's `LogProcessor`.

    Examples:
        >>> from types import SimpleNamespace
        >>> from mmengine.logging import MessageHub
        >>> from mmengine.registry import LOG_PROCESSORS
        >>> import mmseg_dynopool
        >>> log_processor = dict(type='mmseg.DynOPoolLogProcessor', by_epoch=False)
        >>> hub = MessageHub('a run')
        >>> hub.update_scalars({'train/loss': 0.5, 'train/dynopool/stream1/scale_h': 0.458,
        ...                     'train/dynopool/stream1/scale_w': 0.461})
        >>> runner = SimpleNamespace(message_hub=hub, iter=49, max_iters=80000, _train_loop=None)
        >>> tag, text = LOG_PROCESSORS.build(log_processor).get_log_after_iter(runner, 49, 'train')
        >>> print(text.partition('loss: ')[2])
        0.5000  stream1: 0.458 x 0.461
    """

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """The scalars, all of them, and the line."""
        tag, text = super().get_log_after_iter(runner, batch_idx, mode)  # without the shapes
        windows = self._parse_windows_size(runner, batch_idx, self.custom_cfg)
        every = super()._collect_scalars(windows, runner, mode, self.log_with_hierarchy)
        shapes = {key: value for key, value in every.items() if ShapeScalar.parse(key)}
        return {**tag, **shapes}, '  '.join([text, *_entries(shapes)])

    def _collect_scalars(self, custom_cfg: list[dict], runner: Runner, mode: str,
                         reserve_prefix: bool = False) -> dict:
        """The scalars of which mmengine makes the line."""
        scalars = super()._collect_scalars(custom_cfg, runner, mode, reserve_prefix)
        return {key: value for key, value in scalars.items() if not ShapeScalar.parse(key)}


def _entries(shapes: dict[str, float]) -> list[str]:
    """``'stream1: 0.458 x 0.461 (18 x 18)'`` of each instance."""
    values = {ShapeScalar.parse(key): value for key, value in shapes.items()}
    entries = []
    for name in dict.fromkeys(scalar.instance for scalar in values if scalar):
        scale, size = ([values[key] for axis in 'hw'
                        if (key := ShapeScalar(name, quantity, axis)) in values]
                       for quantity in ('scale', 'size'))
        if len(scale) == 2:
            entry = '{}: {:.3f} x {:.3f}'.format(name, *scale)
            entries.append('{} ({:.0f} x {:.0f})'.format(entry, *size) if len(size) == 2 else entry)
    return entries
