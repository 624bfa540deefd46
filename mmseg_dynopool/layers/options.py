"""Options of a network's poolings, as configs and `convert_dynopool` have them."""

from collections.abc import Mapping, Sequence
from typing import Any

from .dynopool import DynOPool, FixedDynOPool
from .image import IMAGE, FixedImageResize, ImageResize
from .pool import ResizingPool
from .shape_adaptor import ShapeAdaptor


def pooling_class(option: str, name: str) -> type[ResizingPool]:
    """The class of that name: ours, or the last subclass of `DynOPool` that was imported.

    ``option`` is for messages. A ValueError if there is none.
    """
    known: list[type[ResizingPool]] = [DynOPool]
    for kind in known:
        known += [child for child in kind.__subclasses__() if child is not ImageResize]
    found = {kind.__name__: kind for kind in known} | dict(
        DynOPool=DynOPool, ShapeAdaptor=ShapeAdaptor)
    if name not in found:
        raise ValueError(f"{option} must be 'DynOPool', 'ShapeAdaptor', or the name of a subclass "
                         f'of DynOPool that your project imports, got {name!r}')
    return found[name]


def by_instance(option: str, value: Any, names: Sequence[str], of: str = 'instances'
                ) -> dict[str, Any]:
    """An option as a dict by instance; a plain one but ``learn`` is for all but the image.

    Args:
        option: its name, for messages; the last word is ``learn``, ``scale``, ``bounds``, ...
        value: one for all, or a dict by instance, or None.
        names: of the instances; messages call them ``of``.

    Raises:
        ValueError: an instance is unknown, or ``learn`` is not True or False.
    """
    if value is None:
        return {}
    learns = option.endswith('learn')
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - set(names))
        if unknown:
            raise ValueError(f'{option} names unknown {of} {unknown}; there are {list(names)}')
        values = dict(value)
    else:
        values = {name: value for name in names if name != IMAGE or learns}
    if learns and not all(isinstance(v, bool) for v in [*values.values(), bool(values)]):
        raise ValueError(f'{option} must be True or False, got {value!r}')
    return values


def make_pool(name: str, kind: type[ResizingPool], options: Mapping[str, Any], learns: bool,
              multiple: int | None = None, whose: str = '') -> ResizingPool:
    """A pooling of ``kind``; if ``multiple`` is given, the `ImageResize` beside such poolings.

    Args:
        name: of the instance, for messages.
        options: of the class.
        learns: False gives it a constant scale.
        whose: whose options these are, for messages.

    Raises:
        ValueError: an option is malformed, or the pooling has no form with a constant scale.
    """
    try:
        pool = kind(**options) if multiple is None else ImageResize(
            multiple=multiple, tied=kind.tied, **options)
    except ValueError as error:
        raise ValueError(f'{whose}options of {name}: {error}') from error
    if learns:
        return pool
    if multiple is not None:
        return FixedImageResize(pool.initial_scale, multiple)
    if kind is not DynOPool:
        raise ValueError(f"{whose}option learn=False takes type='DynOPool': a "
                         f'{kind.__name__} has no form with a constant scale')
    return FixedDynOPool(pool.initial_scale)
