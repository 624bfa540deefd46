"""DynOPool for MMSegmentation: networks that learn the resolution of their feature maps.

Importing the package registers its models, hooks and data sets with mmseg, where that is
installed; a config does so by ``custom_imports = dict(imports=['mmseg_dynopool'])``. ``ops``,
``layers``, ``complexity``, ``latency`` and ``conversion`` need no mmseg.
"""

import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .installed import config_path
from .version import __version__

# Without the classifier, which needs mmpretrain, too.
__all__ = [
    'DynOPoolBackbone', 'DynOPoolCascadeEncoderDecoder', 'DynOPoolEncoderDecoder',
    'DynOPoolHRNet', 'DynOPoolHook', 'FashionScenesDataset', 'MNI152TissueDataset', '__version__',
    'config_path'
]

_missing = [name for name in ('mmseg', 'mmcv', 'mmengine') if find_spec(name) is None]
_problem = f'these are not installed: {", ".join(_missing)}' if _missing else ''
if not _problem:
    try:
        import_module('.checkpoints', __name__)
        import_module('.resume', __name__)
        from .data.fashion_scenes import FashionScenesDataset
        from .data.mni152 import MNI152TissueDataset
        from .hooks import DynOPoolHook
        from .models import (
            DynOPoolBackbone,
            DynOPoolCascadeEncoderDecoder,
            DynOPoolEncoderDecoder,
            DynOPoolHRNet,
        )
    except Exception as error:  # of a broken stack, of many types
        _problem = f'they cannot be imported ({type(error).__name__}: {error})'
        warnings.warn(f'mmseg_dynopool registers nothing with mmseg: {_problem}', stacklevel=2)


def check_stack(name: str) -> None:
    """Raise an ImportError where ``name`` needs the OpenMMLab packages, and they are not usable."""
    if _problem:
        raise ImportError(
            f'{name} needs mmsegmentation with its mmcv and mmengine, and {_problem}. Install them '
            "with pip install 'mmseg_dynopool[mmlab]'. On PyTorch alone there are "
            'mmseg_dynopool.ops, .layers, .complexity, .latency and .conversion')


def __getattr__(name: str) -> Any:
    if name == 'DynOPoolImageClassifier':
        check_stack(f'{__name__}.{name}')
        return import_module('.classification', __name__).DynOPoolImageClassifier
    if name in __all__:
        check_stack(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
