"""DynOPool for MMSegmentation: networks that learn the resolution of their feature maps.

Importing the package registers its models, hooks and data sets where every OpenMMLab package finds
them, if mmseg is installed; a config does so by
``custom_imports = dict(imports=['mmseg_dynopool'])``. The rooms from ``ops`` to ``search`` need no
mmseg.
"""

import sys
import warnings
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

from .installed import config_path
from .stack import STACK_PROBLEM, require_stack
from .version import __version__

# Without the classifier, which needs mmpretrain, too.
__all__ = [
    'DynOPoolBackbone', 'DynOPoolCascadeEncoderDecoder', 'DynOPoolEncoderDecoder',
    'DynOPoolHRNet', 'DynOPoolHook', 'FashionScenesDataset', 'MNI152TissueDataset', '__version__',
    'config_path'
]

_problem = STACK_PROBLEM
if not _problem:
    try:
        with redirect_stdout(sys.stderr):  # stdout is for results; mmseg prints as it is imported
            import_module('.checkpoints', __name__)
            import_module('.resume', __name__)
            from .data.datasets import FashionScenesDataset, MNI152TissueDataset
            from .hooks import DynOPoolHook
            from .models import (
                DynOPoolBackbone,
                DynOPoolCascadeEncoderDecoder,
                DynOPoolEncoderDecoder,
                DynOPoolHRNet,
            )
            from .scopes import register_scoped_names

            register_scoped_names('mmseg')
    except Exception as error:  # of a broken stack, of many types
        _problem = f'they cannot be imported ({type(error).__name__}: {error})'
        warnings.warn(f'mmseg_dynopool registers nothing with mmseg: {_problem}', stacklevel=2)


def __getattr__(name: str) -> Any:
    if name == 'DynOPoolImageClassifier':
        require_stack(f'{__name__}.{name}', _problem)
        return import_module('.classification', __name__).DynOPoolImageClassifier
    if name in __all__:
        require_stack(f'{__name__}.{name}', _problem)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
