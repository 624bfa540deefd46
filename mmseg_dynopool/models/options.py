"""The backbone's ``dynopool=dict(...)`` options."""

from inspect import signature

from torch import nn

from mmseg_dynopool.layers.image import IMAGE
from mmseg_dynopool.layers.options import by_instance, make_pool, pooling_class


def build_dynopools(options: dict | None, streams: int) -> nn.ModuleDict:
    """Make the ``dynopools`` of a `DynOPoolHRNet`; each stream but the first gets one.

    A ValueError names an option that is unknown or malformed.
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
        multiple = 4  # the stem's strides
    elif not image:
        raise ValueError(f'dynopool option multiple={multiple!r} is of the image, whose size does '
                         'not learn; set image=True, too, or leave it out')
    names = [IMAGE] if image else []
    names += [f'stem{k}' for k in (1, 2) if stem]
    names += [f'stream{k}' for k in range(1, streams)]
    learn, scales, limits = (
        by_instance(f'dynopool option {name}', options.pop(name, None), names)
        for name in ('learn', 'scale', kind.limits))
    pools = nn.ModuleDict()
    for name in names:
        given = {} if name == IMAGE else dict(scale=0.5, **options)
        if name in scales:
            given['scale'] = scales[name]
        if name in limits:
            given['bounds' if name == IMAGE else kind.limits] = limits[name]
        pools[name] = make_pool(name, kind, given, learn.get(name, True),
                                multiple if name == IMAGE else None, 'dynopool ')
    return pools
