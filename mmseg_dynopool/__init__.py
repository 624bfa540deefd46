"""DynOPool for MMSegmentation: networks that learn the resolution of their feature maps.

Importing the package registers its models, hooks and data sets with mmseg, where that is
installed; a config does so by ``custom_imports = dict(imports=['mmseg_dynopool'])``. ``ops``,
``layers``, ``complexity``, ``latency`` and ``conversion`` need no mmseg.
"""

import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .version import __version__

# Public name: the room that defines it, and so needs mmseg.
_ROOMS = dict(
    DynOPoolBackbone='models', DynOPoolCascadeEncoderDecoder='models',
    DynOPoolEncoderDecoder='models', DynOPoolHRNet='models', DynOPoolHook='hooks',
    DynOPoolImageClassifier='classification',
    FashionScenesDataset='data.fashion_scenes', MNI152TissueDataset='data.mni152')
_REGISTERING = ('checkpoints', 'data.fashion_scenes', 'data.mni152', 'hooks', 'models', 'resume')

# Without the classifier, which needs mmpretrain, too.
__all__ = [name for name in _ROOMS if name != 'DynOPoolImageClassifier'] + ['__version__']


def _register() -> str | None:
    """Import what registers itself with mmseg; the reason why that cannot be done, or None."""
    missing = [name for name in ('mmseg', 'mmcv', 'mmengine') if find_spec(name) is None]
    if missing:
        return f'these are not installed: {", ".join(missing)}'
    try:
        for room in _REGISTERING:
            import_module(f'{__name__}.{room}')
    except Exception as error:  # of a broken stack, of many types
        reason = f'they cannot be imported ({type(error).__name__}: {error})'
        warnings.warn(f'mmseg_dynopool registers nothing with mmseg: {reason}', stacklevel=3)
        return reason
    return None


_problem = _register()


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    if _problem is not None:
        raise ImportError(
            f'mmseg_dynopool.{name} needs mmsegmentation with its mmcv and mmengine, and {_problem}'
            ". Install them with pip install 'mmseg_dynopool[mmlab]'. On PyTorch alone there are "
            'mmseg_dynopool.ops, .layers, .complexity, .latency and .conversion')
    return getattr(import_module(f'{__name__}.{_ROOMS[name]}'), name)
