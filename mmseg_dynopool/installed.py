"""Where the configs and tools are: in the wheel, or next to the package in a clone."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def installed_folder(name: str) -> Path:
    """The folder ``configs`` or ``tools`` of this installation."""
    for root in (_PACKAGE / '.mim', _PACKAGE.parent):
        if (root / 'model-index.yml').is_file():
            return root / name
    raise FileNotFoundError(
        f'mmseg_dynopool was installed without its {name} (there is no {_PACKAGE / ".mim"}); '
        'install its wheel, or a clone by pip install -e')


def config_path(name: str) -> str:
    """Path of a config that the package ships, for mmengine's ``Config`` or as a ``_base_``.

    Args:
        name: a file's name, e.g. ``hrnet_w48_dynopool_cityscapes.py``, or its path, with or
            without ``configs/``, e.g. ``_base_/schedules/iters_80k.py``.

    Raises:
        FileNotFoundError: there is no such config, or the package was installed without configs.

    Examples:
        The first line of a config of your own, wherever it lies:

        >>> _base_ = __import__('mmseg_dynopool').config_path('hrnet_w48_dynopool_cityscapes.py')

        >>> from pathlib import Path
        >>> from mmseg_dynopool import config_path
        >>> Path(config_path('unet_dynopool_cityscapes.py')).parent.name
        'configs'
    """
    configs = installed_folder('configs')
    known = {}
    for path in sorted(configs.rglob('*.py')):
        place = path.relative_to(configs)
        known[str(place)] = path
        if '_base_' not in place.parts:
            known[path.name] = path
    below = str(name).removeprefix('configs/')
    if below not in known:
        raise FileNotFoundError(f'there is no config {name!r} in mmseg_dynopool; nearest to it: '
                                + nearest(below, known))
    return str(known[below])


def nearest(name: str, known: Iterable[str]) -> str:
    """The known names closest to a misspelt one, for a message."""
    return ', '.join(get_close_matches(name, known, cutoff=0))
