"""Is the OpenMMLab stack there, and what to say when it is not."""

import importlib.util
import sys

_TORCH_ALONE = ('mmseg_dynopool.ops', 'mmseg_dynopool.layers', 'mmseg_dynopool.complexity')

MISSING = (
    'mmseg_dynopool needs mmsegmentation with its mmcv and mmengine, and {reason}. Install them '
    "with pip install 'mmseg_dynopool[mmlab]'. For PyTorch alone, import mmseg_dynopool.ops or "
    'mmseg_dynopool.layers.')


def problem() -> str | None:
    """Why the stack cannot be used, or None."""
    missing = [n for n in ('mmseg', 'mmcv', 'mmengine') if importlib.util.find_spec(n) is None]
    return f'these are not installed: {", ".join(missing)}' if missing else None


def only_torch_is_wanted() -> bool:
    """Whether this import of the package serves one of its parts that need torch alone.

    ``import mmseg_dynopool.ops`` first imports ``mmseg_dynopool``. The import system's own
    frames on the stack tell it from a plain ``import mmseg_dynopool``.
    """
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get('__name__') == 'importlib._bootstrap':
            name = frame.f_locals.get('name')
            if isinstance(name, str) and name.startswith(_TORCH_ALONE):
                return True
        frame = frame.f_back
    return False
