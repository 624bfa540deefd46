"""The backbone's ``dynopool=dict(...)`` options."""

from inspect import signature

from torch import nn

from mmseg_dynopool.layers import (
    DynOPool,
    FixedDynOPool,
    FixedImageResize,
    ImageResize,
    ResizingPool,
)
from mmseg_dynopool.layers.image import IMAGE, by_instance, pooling_class


def build_dynopools(options: dict | None, streams: int, stride: int = 4) -> nn.ModuleDict:
    """Make a network's DynOPool instances from the options of its config.

    Args:
        options: see `DynOPoolHRNet`.
        streams: number of streams; each but the first gets an instance.
        stride: of the stem, which the image's sides are multiples of.

    Returns:
        ``{'image', 'stem1', 'stem2' (if asked for), 'stream1', ...: DynOPool}``, or FixedDynOPools
        or ShapeAdaptors.

    Raises:
        ValueError: an option or an instance is unknown, or a value is malformed; the message
            names the instance.
    """
    if not isinstance(options or {}, dict):
        raise ValueError(f'dynopool must be a dict of options, got {options!r}')
    options = dict(options or {})
    kind = pooling_class('dynopool option type', options.pop('type', 'DynOPool'))
    known = [*signature(kind).parameters, 'image', 'multiple', 'stem', 'learn']
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f'unknown dynopool options {unknown}; there are {known} for type '
                         f'{kind.__name__!r}')
    stem, image = options.pop('stem', False), options.pop('image', False)
    for name, value in (('stem', stem), ('image', image)):
        if not isinstance(value, bool):
            raise ValueError(f'dynopool option {name} must be True or False, got {value!r}')
    if stem and image:
        raise ValueError('dynopool options stem=True and image=True would resize the image twice, '
                         'which is worse than once; leave stem out')
    multiple = options.pop('multiple', None)
    if multiple is None:
        multiple = stride
    elif not image:
        raise ValueError(f'dynopool option multiple={multiple!r} is of the image, whose size does '
                         'not learn; set image=True, too, or leave it out')
    names = [IMAGE] if image else []
    names += [f'stem{k}' for k in (1, 2) if stem]
    names += [f'stream{k}' for k in range(1, streams)]
    learn, scales, limits = (
        by_instance(f'dynopool option {name}', options.pop(name, None), names)
        for name in ('learn', 'scale', kind.limits))
    if kind is not DynOPool and not all(learn.get(name, True) for name in names if name != IMAGE):
        raise ValueError("dynopool option learn=False takes type='DynOPool': a "
                         f'{kind.__name__} has no form with a constant scale')
    pools = nn.ModuleDict()
    for name in names:
        given = {key: values[name] for key, values in (
            ('scale', scales), ('bounds' if name == IMAGE else kind.limits, limits))
                 if name in values}
        try:
            if name == IMAGE:
                pool: ResizingPool = ImageResize(multiple=multiple, tied=kind.tied, **given)
            else:
                pool = kind(**dict(dict(scale=0.5), **options, **given))
        except ValueError as error:
            raise ValueError(f'dynopool options of {name}: {error}') from error
        if not learn.get(name, True):
            pool = (FixedImageResize(pool.initial_scale, multiple) if name == IMAGE
                    else FixedDynOPool(pool.initial_scale))
        pools[name] = pool
    return pools
