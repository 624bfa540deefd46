"""Convert a network: any strides become learned scales (supplement, section 1.1)."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, cast

from torch import Tensor, nn

from mmseg_dynopool.costs.meta_copy import run_plainly, to_meta_copy
from mmseg_dynopool.layers import DynOPool, FixedDynOPool, FixedImageResize, ResizingPool
from mmseg_dynopool.layers.image import DOES_NOT_LEARN, IMAGE
from mmseg_dynopool.layers.options import by_instance, make_pool, pooling_class
from mmseg_dynopool.ops.size import check_whole

from .modules import Converted, ConvertedContainer
from .plan import (
    KEPT_MULTIPLE,
    MOST_MULTIPLE,
    RULES,
    ConversionPlan,
    make_plan,
    plan_image,
    trace_network,
)
from .shared_pool import CallOrder, SharedPool
from .trial import Trial
from .variants import DynOPooling, Following, ResizedPooling, mix_in, pool_around

LEVELS = ('all', 'image')
_KEPT_BOUNDS = 0.25, 1.0


def plan_conversion(model: nn.Module, rule: str = 'before',
                    scale: float | Sequence[float] | Mapping[str, float | Sequence[float]]
                           | None = None,
                    merge: bool | None = None, skip: str | Sequence[str] = (),
                    in_channels: int | None = None, forward: Callable | None = None,
                    image: bool = False, multiple: int | None = None, levels: str = 'all'
                    ) -> ConversionPlan:
    """Find what a conversion would change, without running or changing the network.

    The arguments are those of [`convert_dynopool`][mmseg_dynopool.conversion.convert_dynopool].

    Returns:
        The plan; its `refusals` say why a network cannot be converted.

    Raises:
        ValueError: an option is malformed, there is nothing to convert, or the network cannot be
            traced.

    Examples:
        >>> from mmseg_dynopool.conversion import plan_conversion
        >>> from torch import Tensor, nn
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        >>> plan_conversion(network).scales
        {'stride2': (0.5, 0.5), 'stride4': (0.5, 0.5)}
    """
    if rule not in RULES:
        raise ValueError(f'rule must be one of {RULES}, got {rule!r}')
    if not isinstance(merge, bool | None):
        raise ValueError(f'merge must be True, False or None (with rule \'after\'), got {merge!r}')
    if not isinstance(image, bool):
        raise ValueError(f'image must be True or False, got {image!r}')
    if levels not in LEVELS:
        raise ValueError(f'levels must be one of {LEVELS}, got {levels!r}')
    if multiple is not None:
        check_whole('multiple', multiple, 'pixels')
        if not image and levels != 'image':
            raise ValueError(f'multiple={multiple} is of the image, whose size does not learn; set '
                             'image=True, too, or leave it out')
    forward = forward or run_plainly

    def plan_at(multiple: int | None) -> tuple[ConversionPlan, Tensor]:
        if levels == 'image':
            return plan_image(model, scale, multiple, in_channels, forward)
        trace, pixels = trace_network(model, in_channels, forward)
        return make_plan(model, trace, rule, rule == 'after' if merge is None else merge, skip,
                         scale, image, multiple), pixels

    plan, pixels = plan_at(multiple)
    while not plan.refusals and _try(model, plan, pixels, forward):
        # Sides of odd multiples fail: UNet, e.g., checks for a larger divisor.
        assert plan.multiple is not None
        if multiple is not None or plan.multiple >= MOST_MULTIPLE:
            break
        plan, pixels = plan_at(2 * plan.multiple)
    return plan


def _try(model: nn.Module, plan: ConversionPlan, pixels: Tensor, forward: Callable) -> bool:
    """Try a plan on a copy; True if it fails on images whose sides are odd multiples."""
    copied = to_meta_copy(model)
    trial = Trial(copied, plan, pixels, forward)
    fixed: dict[str, ResizingPool] = {
        name: FixedDynOPool(s) if (multiple := _multiple(plan, name)) is None
        else FixedImageResize(s, multiple) for name, s in plan.stock_scales.items()}
    _apply(copied, plan, fixed)
    return trial.run()


def convert_dynopool(model: nn.Module, rule: str = 'before',
                     scale: float | Sequence[float] | Mapping[str, float | Sequence[float]]
                            | None = None,
                     bounds: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
                     anchor: str = 'local', window: float = 8, type: str = 'DynOPool',
                     merge: bool | None = None,
                     skip: str | Sequence[str] = (), learn: bool | Mapping[str, bool] = True,
                     in_channels: int | None = None, forward: Callable | None = None,
                     image: bool = False, multiple: int | None = None, levels: str = 'all'
                     ) -> nn.Module:
    """Make a network's resolutions learned, in place.

    Strided convolutions get the stride 1, and layers that lead from one resolution to another
    share one DynOPool; pooling layers become DynOPools (rule 1). The stock network's checkpoints
    load: the only new keys are ``dynopools.*.alpha``. Modules keep their names; their classes
    become subclasses. Layers that resize by a fixed factor, as in decoders, return to the size
    that entered the DynOPool.

    Args:
        model: a network that takes an image ``(N, C, H, W)``.
        rule: ``'before'``, pool, then convolve (rule 3); ``'after'``, convolve at the full
            resolution, then pool behind norm and activation (rule 2); ``'keep'``, for a network
            that is trained: every layer keeps its stride, and each level is an
            [`ImageResize`][mmseg_dynopool.layers.ImageResize] in front of its layers, 1 at the
            start, at which the network is the stock one bit for bit.
        scale: initial scale, one number or ``(scale_h, scale_w)``, or a dict of them by level;
            None, or a level that the dict omits: the network's own.
        bounds: lowest and highest scale, also by level; default: from a quarter of the network's
            own to 1, with ``'keep'`` from a quarter to 1, of the image from a quarter to 4. A
            plain pair is not the image's.
        anchor: see [`dynopool2d`][mmseg_dynopool.ops.dynopool2d].
        window: see there.
        type: ``'DynOPool'``, the name of a subclass of it that your project imports, or
            ``'ShapeAdaptor'``, with ``bounds`` as its ratios (default: from half of the network's
            own scale to 1), and an image of one scale for both axes.
        merge: whether two resizings in a row, the second a pooling, become one of r = 0.25
            (supplement, section 1.1); default: only with rule ``'after'``.
        skip: names or patterns (``'layer4.*'``) of modules that stay as they are, and with them
            the layers that share their resolution.
        learn: False makes the scales constants, as in a frozen network; also by level.
        in_channels: of the image; default: as the data preprocessor or the first convolution tells.
        forward: ``forward(network, image)`` runs the network; default ``network(image)``.
        image: whether the image's own size is the first level, ``'image'``: an
            [`ImageResize`][mmseg_dynopool.layers.ImageResize], 1 at the start. Layers that read the
            image keep their strides, and outputs of the image's size are brought back to it.
        multiple: pixels to whose multiples the resized image's sides are rounded; default: the
            strides that stay in front of the first level.
        levels: ``'all'``, or ``'image'`` for the image's alone, in any network that takes images
            of other sizes.

    Returns:
        ``model``, with its ``dynopools`` by total stride: ``stride2``, ``stride4``, ...

    Raises:
        ValueError: an option is malformed, or the network cannot be converted. The message names
            the module, the reason and the mend; nothing was changed.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.conversion import convert_dynopool
        >>> from torch import Tensor, nn
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        >>> list(convert_dynopool(network, scale={'stride4': 0.25}).dynopools)
        ['stride2', 'stride4']
        >>> network(torch.rand(1, 3, 64, 64)).shape  # without the scale, 16 x 16
        torch.Size([1, 8, 8, 8])
    """
    kind = pooling_class('type', type)
    if kind is not DynOPool and rule == 'keep':
        raise ValueError(f"rule='keep' takes type='DynOPool', got {type!r}")
    plan = plan_conversion(model, rule, scale, merge, skip, in_channels, forward, image, multiple,
                           levels)
    learns, bounded = (by_instance(name, value, list(plan.stock_scales))
                       for name, value in (('learn', learn), ('bounds', bounds)))
    if plan.refusals:
        raise ValueError(f'{model.__class__.__name__} cannot be converted, and was not changed. '
                         + '. '.join(map(str, plan.refusals)))
    anchoring = {key: value for key, value in dict(anchor=anchor, window=window).items()
                 if key in signature(kind).parameters}
    pools: dict[str, ResizingPool] = {}
    for name, stock_scale in plan.stock_scales.items():
        multiple = _multiple(plan, name)
        if multiple is None:
            lowest = min(*plan.scales[name], *stock_scale) / kind.reach
            options = {kind.limits: (lowest, 1.0), **anchoring}
        else:
            options = {} if name == IMAGE else dict(bounds=_KEPT_BOUNDS)
        if bounded.get(name) is not None:
            options[kind.limits if multiple is None else 'bounds'] = bounded[name]
        pools[name] = make_pool(name, kind, dict(options, scale=plan.scales[name]),
                                learns.get(name, True), multiple)
        pools[name].stock_scale = stock_scale
    does_not_learn = IMAGE in plan.frozen and pools[IMAGE].learns
    for note in [*plan.notes, *([DOES_NOT_LEARN] if does_not_learn else [])]:
        warnings.warn(f'{model.__class__.__name__}: {note}', stacklevel=2)
    _apply(model, plan, pools)
    model.dynopools.to(next((p.device for p in model.parameters()), None))
    for name in plan.frozen:
        pools[name].requires_grad_(False)
    return model


def _multiple(plan: ConversionPlan, name: str) -> int | None:
    """The multiple to which an `ImageResize` at this level rounds; None for a DynOPool."""
    if name == IMAGE:
        return plan.multiple
    return KEPT_MULTIPLE if plan.rule == 'keep' else None


def _apply(model: nn.Module, plan: ConversionPlan, pools: Mapping[str, ResizingPool]) -> None:
    """Change the modules of ``model``, the planned network or a copy of it."""
    model.dynopools = nn.ModuleDict(pools)
    owned = cast(Mapping[str, ResizingPool], model.dynopools)
    shared = {name: SharedPool(owned, name, name in plan.reused) for name in pools if name != IMAGE}
    orders: defaultdict[str, CallOrder] = defaultdict(lambda: CallOrder([]))
    for change in plan.changes:
        module, pool = model.get_submodule(change.module), shared[change.level]
        if change.place == 'follows':
            mix_in(module, Following, back_to=pool)
        elif isinstance(module, nn.Conv2d) or (plan.rule != 'keep' and change.place in
                                               ('before', 'behind')):
            state: dict[str, Any] = {}
            if change.place != 'gone':
                state[f'pool_{change.place}'] = pool
            if change.padding is not None:
                assert isinstance(module, nn.Conv2d)
                module.stride = (1, 1)
            if change.padding:
                state['same_padding'] = change.padding
            if state:
                pool_around(module, **state)
        else:
            orders[change.module].pools.append(None if change.place == 'gone' else pool)
            mix_in(module, ResizedPooling if plan.rule == 'keep' else DynOPooling,
                   turns=orders[change.module], reduce='mean' if change.place == 'mean' else 'max')
    is_container = isinstance(model, (nn.Sequential, nn.ModuleDict))
    mix_in(model, ConvertedContainer if is_container else Converted, shared_pools=shared,
           all_turns=[order for order in orders.values() if len(order.pools) > 1],
           size_chain=plan.size_chain, norms=plan.norms)
