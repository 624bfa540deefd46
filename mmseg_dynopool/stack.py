"""The OpenMMLab packages: what is missing of them, and how to get it."""

from importlib.util import find_spec

_MISSING = [name for name in ('mmseg', 'mmcv', 'mmengine') if find_spec(name) is None]
STACK_PROBLEM = f'these are not installed: {", ".join(_MISSING)}' if _MISSING else ''


def require_stack(name: str, problem: str = STACK_PROBLEM) -> None:
    """Raise an ImportError if there is a ``problem`` with what ``name`` needs."""
    if problem:
        raise ImportError(
            f'{name} needs mmsegmentation with its mmcv and mmengine, and {problem}. Install them '
            "with pip install 'mmseg_dynopool[mmlab]'. On PyTorch alone there are "
            'mmseg_dynopool.ops, .layers, .costs, .conversion, .learning and .search')
