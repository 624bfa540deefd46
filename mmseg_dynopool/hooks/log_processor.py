"""A log line that a person can read."""

import re

from mmengine.runner import LogProcessor
from mmseg.registry import LOG_PROCESSORS

_INSTANCE = re.compile(r'(?:train/)?dynopool/([^/]+)/')


@LOG_PROCESSORS.register_module()
class DynOPoolLogProcessor(LogProcessor):
    """mmengine's line with one short entry per DynOPool in the place of a dozen.

    ``stream1: 0.458 x 0.461 (18 x 18)``: the learned scales and, where they are logged, the
    feature size, height first. Only the text is shorter: the visualizer's backends, and with them
    TensorBoard and ``scalars.json``, get every scalar of :class:`DynOPoolHook`.

    Use it by ``log_processor=dict(type='DynOPoolLogProcessor', ...)``; options are
    :class:`mmengine.runner.LogProcessor`'s.
    """

    def get_log_after_iter(self, runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """The scalars, all of them, and the line."""
        tag, text = super().get_log_after_iter(runner, batch_idx, mode)
        entries = [entry for entry in text.split('  ') if not _INSTANCE.match(entry)]
        return tag, '  '.join([*entries, *_shapes(tag)])


def _shapes(tag: dict) -> list[str]:
    """``'stream1: 0.458 x 0.461 (18 x 18)'`` of each instance."""
    values = {key.removeprefix('train/'): value for key, value in tag.items()}
    names = dict.fromkeys(found[1] for found in map(_INSTANCE.match, tag) if found)
    shapes = []
    for name in names:
        scale = [values.get(f'dynopool/{name}/scale_{axis}') for axis in 'hw']
        size = [values.get(f'dynopool/{name}/size_{axis}') for axis in 'hw']
        if None not in scale:
            text = '{:.3f} x {:.3f}'.format(*scale)
            shapes.append(f'{name}: {text}' + (
                '' if None in size else ' ({:.0f} x {:.0f})'.format(*size)))
    return shapes
