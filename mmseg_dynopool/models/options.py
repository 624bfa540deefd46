"""The backbone's ``dynopool=dict(...)`` options."""

from torch import nn

from mmseg_dynopool.layers import DynOPool, FixedDynOPool, ResizingPool, ShapeAdaptor

_TYPES: dict[str, type[ResizingPool]] = dict(DynOPool=DynOPool, ShapeAdaptor=ShapeAdaptor)
_OPTIONS = dict(
    DynOPool=('scale', 'bounds', 'anchor', 'window', 'stem', 'learn'),
    ShapeAdaptor=('scale', 'ratios', 'pooling', 'align_corners', 'stem', 'learn'))


def build_dynopools(options: dict | None, streams: int) -> nn.ModuleDict:
    """Make a network's DynOPool instances from the options of its config.

    Args:
        options: see `DynOPoolHRNet`.
        streams: number of streams; each but the first gets an instance.

    Returns:
        ``{'stem1', 'stem2' (if asked for), 'stream1', ...: DynOPool}``, or FixedDynOPools
        or ShapeAdaptors.

    Raises:
        ValueError: an option or an instance is unknown, or a value is malformed; the message
            names the instance.
    """
    if not isinstance(options or {}, dict):
        raise ValueError(f'dynopool must be a dict of options, got {options!r}')
    options = dict(options or {})
    kind = options.pop('type', 'DynOPool')
    if kind not in _TYPES:
        raise ValueError(f'dynopool option type must be one of {list(_TYPES)}, got {kind!r}')
    unknown = sorted(set(options) - set(_OPTIONS[kind]))
    if unknown:
        raise ValueError(f'unknown dynopool options {unknown}; there are {list(_OPTIONS[kind])} '
                         f'for type {kind!r}')
    stem, learn = options.pop('stem', False), options.pop('learn', True)
    for name, value in (('stem', stem), ('learn', learn)):
        if not isinstance(value, bool):
            raise ValueError(f'dynopool option {name} must be True or False, got {value!r}')
    if kind == 'ShapeAdaptor' and not learn:
        raise ValueError("dynopool option learn=False takes type='DynOPool': a ShapeAdaptor has no "
                         'form with a constant scale')
    names = [f'stem{k}' for k in (1, 2) if stem]
    names += [f'stream{k}' for k in range(1, streams)]
    scales = options.pop('scale', 0.5)
    if not isinstance(scales, dict):
        scales = dict.fromkeys(names, scales)
    unknown = sorted(set(scales) - set(names))
    if unknown:
        raise ValueError(f'dynopool option scale names unknown instances {unknown}; '
                         f'there are {names}')
    pools = nn.ModuleDict()
    for name in names:
        try:
            pool = _TYPES[kind](scales.get(name, 0.5), **options)
        except ValueError as error:
            raise ValueError(f'dynopool options of {name}: {error}') from error
        pools[name] = pool if learn else FixedDynOPool(pool.initial_scale)
    return pools
