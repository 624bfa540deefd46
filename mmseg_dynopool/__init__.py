"""DynOPool for MMSegmentation: networks that learn the resolution of their feature maps.

Importing the package registers its models, hooks and data sets with mmseg; a config does so by
``custom_imports = dict(imports=['mmseg_dynopool'])``. ``mmseg_dynopool.ops``, ``.layers`` and
``.complexity`` need PyTorch alone.
"""

from . import _stack
from .version import __version__

_problem = _stack.problem()
if _problem is None:
    from .datasets import MNI152TissueDataset
    from .engine import DynOPoolHook
    from .models import DynOPoolCascadeEncoderDecoder, DynOPoolEncoderDecoder, DynOPoolHRNet
elif not _stack.only_torch_is_wanted():
    raise ImportError(_stack.MISSING.format(reason=_problem))

__all__ = [
    'DynOPoolCascadeEncoderDecoder', 'DynOPoolEncoderDecoder', 'DynOPoolHRNet', 'DynOPoolHook',
    'MNI152TissueDataset', '__version__'
]


def __getattr__(name: str):
    if name in __all__:
        raise ImportError(_stack.MISSING.format(reason=_problem))
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
