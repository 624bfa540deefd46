"""Lets torchvision's Python part run beside a torch that its compiled part is not built for."""

import sys
from importlib import import_module
from importlib.util import find_spec

import torch

# Keeps the declarations: they last as long as this object.
_declared = []


def declare_missing_operators() -> bool:
    """Declare the operators that ``import torchvision`` looks for; False where none is missing.

    torchvision's package on PyPI is the CUDA build. Beside a CPU build of torch its library
    does not load, and the import then fails at the first of its operators. Networks without
    detection heads call none of them. To be called before anything imports torchvision.
    """
    if _declared or find_spec('torchvision') is None:
        return bool(_declared)
    try:
        import_module('torchvision')
        return False
    except RuntimeError as error:
        if 'operator torchvision::nms does not exist' not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
        del sys.modules[name]  # those that the failed import left
    library = torch.library.Library('torchvision', 'DEF')
    for name in ('nms', 'qnms'):
        library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    _declared.append(library)
    import_module('torchvision')
    return True
