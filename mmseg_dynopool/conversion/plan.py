"""What a conversion would change, found without changing anything."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd
from torch.utils._pytree import tree_leaves

from mmseg_dynopool.costs.meta_copy import to_meta_copy
from mmseg_dynopool.layers.dynopool import check_scale
from mmseg_dynopool.layers.find import all_pools, check_takes_images, input_channels
from mmseg_dynopool.layers.image import IMAGE, ImageResize
from mmseg_dynopool.layers.options import by_instance

from .levels import Level, Levels, Refusal, group_steps
from .placement import Change, module_changes, norm_behind
from .resolution import Resolution
from .sizes import SizeChain
from .trace import Tracer, traced_size

RULES = ('before', 'after', 'keep')
MOST_MULTIPLE = 32
KEPT_MULTIPLE = 2  # of cells, in front of a layer that keeps its stride
Scale = float | Sequence[float]


@dataclass
class ConversionPlan:
    """What a conversion would do. As text it is a table.

    Made by [`plan_conversion`][mmseg_dynopool.conversion.plan_conversion].

    Attributes:
        rule: ``'before'``, ``'after'`` or ``'keep'``.
        scales: initial scale of each level, ``{name: (scale_h, scale_w)}``.
        stock_scales: the scales that give the stock network's sizes.
        strides: ``{name: (from, to)}``, the total strides as text.
        changes: of the modules, in order of execution.
        left: ``{module: reason}`` of strided layers that stay as they are.
        refusals: why the network cannot be converted; empty if it can.
        notes: where the converted network differs from the stock one at the start.
        frozen: levels at whose resolution a layer with frozen weights runs: they do not learn.
        reused: levels at which one tensor is pooled more than once.
        size_chain: how the levels' sizes follow from the image's; None if from more than that.
        multiple: pixels to whose multiples the resized image's sides are rounded, or None.
        norms: ``{norm: convolution}`` with a DynOPool between them: not to be folded.

    Examples:
        >>> from mmseg_dynopool.conversion import plan_conversion
        >>> from torch import nn
        >>> print(plan_conversion(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.MaxPool2d(3, 2, 1))))
        level    from stride  to stride  scale      DynOPool  module
        stride2  1            2          0.5 x 0.5  before    0
        stride4  2            4          0.5 x 0.5  instead   1
    """

    rule: str
    scales: dict[str, tuple[float, float]] = field(default_factory=dict)
    stock_scales: dict[str, tuple[float, float]] = field(default_factory=dict)
    strides: dict[str, tuple[str, str]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    frozen: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    size_chain: SizeChain | None = None
    multiple: int | None = None
    norms: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = [('level', 'from stride', 'to stride', 'scale', 'DynOPool', 'module')]
        scales = {name: '{:.4g} x {:.4g}'.format(*scale) for name, scale in self.scales.items()}
        if IMAGE in scales:
            rows.append((IMAGE, '1', '1', scales[IMAGE], 'before', 'the network' + (
                f', to multiples of {self.multiple} pixels' if self.multiple != 1 else '')))
        for change in self.changes:
            rows.append((change.level, *self.strides[change.level], scales[change.level],
                         change.place, change.module))
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                 for row in rows]
        lines += [f'left as it is: {name} ({reason})' for name, reason in self.left.items()]
        lines += [f'does not learn, as weights at its resolution are frozen: {name}'
                  for name in self.frozen]
        lines += [f'note: {note}' for note in self.notes]
        lines += [f'refused: {refusal}' for refusal in self.refusals]
        return '\n'.join(lines)


def trace_network(model: nn.Module, in_channels: int | None, forward: Callable
                  ) -> tuple[Tracer, torch.Tensor]:
    """Run a copy of the network on the meta device; return the trace and the image."""
    image = _meta_image(model, in_channels)
    trace = Tracer(to_meta_copy(model, strip=False))
    try:
        trace.run(image, forward)
    except Exception as error:  # from any network, of any type
        size = ' x '.join(map(str, image.shape[1:]))
        where = f'{type(model).__name__}: its forward'
        raise ValueError(
            f'the network cannot be traced: {trace.at or where} fails for an image '
            f'of {size} on the meta device ({type(error).__name__}: {error}). If it takes images '
            'of one size alone, as by a table of positions, its sizes cannot be learned: use a '
            'backbone that resizes the table. If it takes other inputs, say how to run it by '
            'forward=lambda network, image: ...; other channels by in_channels; what reads values '
            'of tensors (.item(), numpy) has no meaning there: convert a part of the network'
        ) from error
    return trace, image


def plan_image(model: nn.Module, scale: Scale | Mapping[str, Scale] | None, multiple: int | None,
               in_channels: int | None, forward: Callable) -> tuple[ConversionPlan, torch.Tensor]:
    """The plan of a network whose image alone gets a scale, and the image of its trial."""
    image = _meta_image(model, in_channels)
    network = to_meta_copy(model)
    heights: list[int] = []
    weighted: list[str] = []
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_pre_hook(lambda module, args, name=name: weighted.append(name))
        if _strides(module):
            module.register_forward_hook(
                lambda module, args, output: heights.append(output.shape[-2]))
    try:
        with torch.no_grad():
            outputs = forward(network, image)
    except Exception as error:  # from any network, of any type
        raise ValueError(f'{type(model).__name__} does not run on an image of '
                         f'{image.shape[2]} x {image.shape[3]}, so its size cannot be learned '
                         f'({type(error).__name__}: {error})') from error
    # Some reduce by other means than modules; a single row is a summary.
    heights += [leaf.shape[2] for leaf in tree_leaves(outputs)
                if isinstance(leaf, torch.Tensor) and leaf.dim() == 4 and leaf.shape[2] > 1]
    stride = min(max(1, round(image.shape[2] / min(heights, default=1))), MOST_MULTIPLE)
    plan = ConversionPlan('before', stock_scales={IMAGE: ImageResize.stock_scale},
                          multiple=multiple or stride, size_chain=SizeChain(()))
    plan.scales = _scales(scale, plan.stock_scales)
    if weighted and _is_frozen(model.get_submodule(weighted[0])):
        plan.frozen = IMAGE,
    return plan, image


def make_plan(model: nn.Module, trace: Tracer, rule: str, merge: bool, skip: Sequence[str],
              scale: Scale | Mapping[str, Scale] | None, image: bool, multiple: int | None
              ) -> ConversionPlan:
    """The plan for ``model``, whose copy was traced, before any trial."""
    found = group_steps(trace, merge, _skipping(trace, skip), image)
    plan = ConversionPlan(rule, left=found.left, refusals=found.refusals)
    if image:
        plan.stock_scales[IMAGE] = ImageResize.stock_scale
        plan.multiple = multiple or _stride_in_front(trace, found)
    if not found.levels and not found.refusals and not image:
        raise ValueError(
            f'there is nothing to convert: {type(trace.network).__name__} has no strided '
            'convolution or pooling' + (' but those left as they are' if found.left else ''))
    for level in found.levels:
        plan.stock_scales[level.name] = (ImageResize.stock_scale if rule == 'keep'
                                         else level.stock_scale)
        plan.strides[level.name] = _stride(trace, level.source), _stride(trace, level.target)
    plan.scales = _scales(scale, plan.stock_scales)
    if found.refusals:
        return plan
    plan.changes = module_changes(trace, found, rule)
    plan.norms = {norm: change.module for change in plan.changes if change.place == 'behind'
                  and (norm := norm_behind(trace, change.module))}
    frozen = {resolution.find() for name, resolution in trace.convolutions
              if _is_frozen(model.get_submodule(name))}
    plan.frozen = tuple(level.name for level in found.levels if level.target in frozen)
    if image and any(not found.above.get(resolution) for resolution in frozen):
        plan.frozen = IMAGE, *plan.frozen
    plan.reused = tuple(level.name for level in found.levels if _is_reused(level, rule))
    plan.size_chain = SizeChain.of(trace, found, KEPT_MULTIPLE if rule == 'keep' else None)
    averages = [change.module for change in plan.changes if change.place == 'mean']
    if averages:
        plan.notes.append('an average stays an average, that of four points in each cell: '
                          + ', '.join(averages))
    return plan


def _meta_image(model: nn.Module, in_channels: int | None) -> torch.Tensor:
    """The image to run a network on, after a check of both."""
    if not isinstance(model, nn.Module):
        raise ValueError(f'model must be an nn.Module, got {type(model).__name__}')
    channels = input_channels(model, in_channels)
    check_takes_images(model)
    pools = all_pools(model)
    if pools:
        raise ValueError(f'the network holds a DynOPool already, {next(iter(pools))!r}; convert '
                         'the stock network')
    devices = {parameter.device for parameter in model.parameters()}
    if len(devices) > 1:
        raise ValueError(f'the network lies on several devices, {sorted(map(str, devices))}; '
                         'convert it before it is distributed')
    return torch.empty(1, channels, *traced_size(model), device='meta')


def _strides(module: nn.Module) -> bool:
    """Whether it reduces a map, and not to a summary as in pyramid pooling."""
    if not isinstance(module, (nn.Conv2d, _MaxPoolNd, _AvgPoolNd)):
        return False
    kernel, stride = (max(tree_leaves(n)) for n in (module.kernel_size, module.stride))
    return stride > 1 and (isinstance(module, nn.Conv2d) or kernel <= 2 * stride)


def _stride_in_front(trace: Tracer, found: Levels) -> int:
    """The total stride that stays in front of the first levels, or all of it without levels."""
    in_front = {level.source.find() for level in found.levels
                if not found.above.get(level.source.find())}
    if not in_front:
        alive = {resolution.find() for resolution in trace.alive}
        in_front = {step.ends[1] for step in trace.steps
                    if step.reduces and step.module in found.left and step.ends[1] in alive}
    strides = [round(max(a / b for a, b in zip(trace.image.size, resolution.size)))
               for resolution in in_front]
    return min(max(strides, default=1), MOST_MULTIPLE)


def _skipping(trace: Tracer, skip: Sequence[str]) -> Callable[[str], bool]:
    patterns = [skip] if isinstance(skip, str) else skip
    if not isinstance(patterns, Sequence) or not all(isinstance(p, str) for p in patterns):
        raise ValueError('skip must be a name or pattern of modules, or a list of them, got '
                         f'{skip!r}')
    strided = {step.module for step in trace.steps if step.kind != 'follow'} | {*trace.unknown}

    def matches(name: str, pattern: str) -> bool:
        return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f'{pattern}.*')

    for pattern in patterns:
        if not any(matches(name, pattern) for name in strided):
            raise ValueError(f'skip: {pattern!r} matches no strided module; there are '
                             f'{sorted(strided)}')
    return lambda name: any(matches(name, pattern) for pattern in patterns)


def _stride(trace: Tracer, resolution: Resolution) -> str:
    strides = [a / b for a, b in zip(trace.image.size, resolution.size)]
    return ' x '.join(dict.fromkeys(f'{stride:.4g}' for stride in strides))


def _scales(scale: Scale | Mapping[str, Scale] | None, stock: Mapping[str, tuple[float, float]]
            ) -> dict[str, tuple[float, float]]:
    given = by_instance('scale', scale, list(stock), 'levels')
    scales = {}
    for name in stock:
        try:
            scales[name] = check_scale(given.get(name, stock[name]))
        except ValueError as error:
            raise ValueError(f'options of {name}: {error}') from error
    return scales


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters(recurse=False))
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def _is_reused(level: Level, rule: str) -> bool:
    pooled = Counter((id(step.input), step.kind == 'mean') for step in level.steps
                     if rule != 'after' or step.kind != 'conv')
    return any(times > 1 for times in pooled.values())
