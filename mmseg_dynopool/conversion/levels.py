"""Group the steps of a traced network into levels: steps that share one DynOPool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from .resolution import LevelName, Resolution, Step
from .trace import NORMS, POINTWISE, Tracer


@dataclass(eq=False)
class Level:
    """Steps from one resolution to another, which share a DynOPool.

    Attributes:
        stock_scale: the scale that gives the stock network's sizes, ``(scale_h, scale_w)``.
        steps: where it pools.
        absorbed: strided layers right before, whose stride it takes over.
        name: ``'stride4'`` by the total stride.
    """

    source: Resolution
    target: Resolution
    stock_scale: tuple[float, float]
    steps: list[Step] = field(default_factory=list)
    absorbed: list[Step] = field(default_factory=list)
    name: str = ''

    @property
    def modules(self) -> list[str]:
        """The modules that it changes, each once."""
        return list(dict.fromkeys(step.module for step in (*self.absorbed, *self.steps)))


@dataclass(frozen=True)
class Refusal:
    """Why a network cannot be converted: the module, the reason, and what to do."""

    module: str
    reason: str
    mend: str

    def __str__(self) -> str:
        return f'{self.module or "the model itself"}: {self.reason}; {self.mend}'


@dataclass
class Levels:
    """The levels of a network, by total stride, and what else was found.

    Attributes:
        left: ``{module: reason}`` of strided layers that stay as they are.
        refusals: why the network cannot be converted.
        follows: modules that resize by a fixed factor, with the level to whose input they return.
        above: the levels that a resolution depends on.
    """

    levels: list[Level] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    follows: dict[str, Level] = field(default_factory=dict)
    above: dict[Resolution, frozenset[Level]] = field(default_factory=dict)

    def refuse(self, module: str, reason: str, mend: str) -> None:
        self.refusals.append(Refusal(module, reason, mend))


def group_steps(trace: Tracer, merge: bool, skipped: Callable[[str], bool], image: bool) -> Levels:
    """Find the levels of a traced network.

    Args:
        merge: two resizings in a row become one, where the second is a pooling and nothing but
            norm and activation lie between (supplement, section 1.1).
        skipped: tells by a module's name whether it stays as it is.
        image: the image's own size learns, so that what reads it stays as it is.
    """
    found = Levels()
    _unite_calls(trace)
    _unite_parallel_chains(trace)
    alive = {resolution.find() for resolution in trace.alive}
    pixels = trace.pixel_values() if image else ()
    by_ends: dict[tuple[Resolution, Resolution], Level] = {}
    for step in trace.steps:
        if step.reduces:
            assert step.window is not None
            height, width = step.window[1]
            level = Level(*step.ends, (1 / height, 1 / width))
            by_ends.setdefault(step.ends, level).steps.append(step)
    for level in by_ends.values():
        reads_image = level.source is trace.image.find() and any(
            step.input in pixels for step in level.steps)
        if any(skipped(name) for name in level.modules):
            found.left |= {name: 'skipped' if skipped(name) else
                           'shares its resolution with a skipped module' for name in level.modules}
        elif reads_image:
            found.left |= dict.fromkeys(level.modules, 'reads the image, whose own size learns')
        elif level.target not in alive:
            found.left |= dict.fromkeys(level.modules, 'only attention reads its output')
        elif all(_summarizes(step) for step in level.steps):
            found.left |= dict.fromkeys(level.modules, 'averages a wide context')
        else:
            found.levels.append(level)
    if merge:
        _merge_pairs(trace, found.levels)
    found.levels.sort(key=lambda level: -level.target.pixels)
    named: list[tuple[int, int]] = []
    for level in found.levels:
        height, width = (round(n / m) for n, m in zip(trace.image.size, level.target.size))
        named.append((height, width))
        level.name = str(LevelName((height, width), named.count((height, width))))
    _trace_dependence(trace, found)
    _check_levels(trace, found, skipped)
    _find_following(trace, found, skipped)
    _check_lost(trace, found)
    return found


def _unite_calls(trace: Tracer) -> None:
    """Unite the outputs of one convolution for one resolution, as in siamese networks."""
    first: dict[tuple[str, Resolution], Resolution] = {}
    for step in trace.steps:
        if step.kind == 'conv':
            first.setdefault((step.module, step.source.find()), step.target).unite(step.target)


def _unite_parallel_chains(trace: Tracer) -> None:
    """Unite parallel chains, from one resolution by equal ratios, that meet later, as in HRNet."""
    steps = [step for step in trace.steps if step.reduces]

    def reached(resolution: Resolution) -> set[Resolution]:
        below = [s.target.find() for s in steps if s.source.find() is resolution]
        return {resolution}.union(*(reached(r) for r in below if r is not resolution))

    again = True
    while again:
        again = False
        for i, step in enumerate(steps):
            for other in steps[:i]:
                (source, target), (other_source, other_target) = step.ends, other.ends
                if (target is not other_target and source is other_source
                        and other.ratio == step.ratio and reached(other_target) & reached(target)):
                    other_target.unite(target)
                    again = True


def _summarizes(step: Step) -> bool:
    """Whether it is a pyramid's pooling, whose windows overlap by more than half."""
    assert step.window is not None
    kernel, stride = step.window[:2]
    return step.kind == 'mean' and any(k > 2 * s for k, s in zip(kernel, stride))


def _merge_pairs(trace: Tracer, levels: list[Level]) -> None:
    for first in list(levels):
        following = [level for level in levels if level.source is first.target]
        leaving = [step for step in trace.steps if step.source.find() is first.target]
        is_output = any(value.resolution is not None and value.resolution.find() is first.target
                        for value in trace.outputs)
        if is_output or len(following) != 1 or any(
                step not in following[0].steps for step in leaving):
            continue
        second = following[0]
        between = [op for resolution, op, module in trace.between
                   if resolution.find() is first.target and module not in first.modules
                   and op not in NORMS | POINTWISE]
        if not between and all(step.kind != 'conv' for step in second.steps):
            second.source, second.absorbed = first.source, first.absorbed + first.steps
            height, width = second.stock_scale
            second.stock_scale = first.stock_scale[0] * height, first.stock_scale[1] * width
            levels.remove(first)


def _trace_dependence(trace: Tracer, found: Levels) -> None:
    """Set ``above``, in order of execution."""
    by_step = {step: level for level in found.levels for step in level.steps + level.absorbed}
    found.above = {trace.image.find(): frozenset()}
    for step in trace.steps:
        source, target = step.ends
        if target not in found.above:
            here = [by_step[step]] if step in by_step else []
            found.above[target] = found.above.get(source, frozenset()) | frozenset(here)


def _check_levels(trace: Tracer, found: Levels, skipped: Callable[[str], bool]) -> None:
    """Refuse strided layers that cannot be converted."""
    owner: dict[str, Level] = {}
    for level in found.levels:
        for step in level.steps + level.absorbed:
            module = trace.network.get_submodule(step.module)
            kind = type(module).__name__
            assert step.window is not None
            if not isinstance(module, nn.Conv2d if step.kind == 'conv' else
                              (_MaxPoolNd, _AvgPoolNd)):
                found.refuse(
                    step.module, f'a {kind} reduces the resolution by a function call',
                    'call a module (nn.MaxPool2d, nn.AvgPool2d, nn.Conv2d) there, or skip it')
            elif step.kind != 'conv' and (
                    trace.results.get((step.module, step.call)) is not step.output
                    or getattr(module, 'divisor_override', None)):
                found.refuse(step.module, f'this {kind} does more than pool',
                             'use a plain nn.MaxPool2d or nn.AvgPool2d there, or skip it')
            elif any(abs(after * stride - before) >= stride for before, after, stride in zip(
                    step.source.size, step.target.size, step.window[1])):
                found.refuse(
                    step.module, f'its output is not its input divided by the stride: {kind} from '
                    f'{step.source} to {step.target}', 'pad it by half of its kernel, or skip it')
            elif step.kind == 'conv' and owner.setdefault(step.module, level) is not level:
                found.refuse(
                    step.module, f'it leads to {owner[step.module].name} and to {level.name}',
                    'use a module of its own for each, or skip it')
    for name in sorted({name for level in found.levels for name in level.modules} & {*found.left}):
        found.refuse(
            name, f'it reduces the resolution at several places, of which some stay as they are '
            f'({found.left[name]})', 'use a module of its own for each, or skip it')
    for name in dict.fromkeys(trace.unknown):
        if not skipped(name):
            found.refuse(
                name, 'it strides over what cannot be followed back to the image: something '
                "rearranges or writes pixels before it, as padding_mode='circular' does",
                'pad with zeros or by reflection, skip it, or convert a part of the network')


def _check_lost(trace: Tracer, found: Levels) -> None:
    for change in trace.lost:
        if change.weighted and not change.returned and any(
                found.above.get(resolution.find()) for resolution in change.source):
            found.refuse(
                change.module, f'what has {change.source[0]} pixels gets another shape by '
                f'{change.op!r}, which no DynOPool can follow',
                'flattened features need global pooling before them, patches a strided '
                'convolution; or skip the strided layers above it')


def _find_following(trace: Tracer, found: Levels, skipped: Callable[[str], bool]) -> None:
    """Find the resizings that have to follow a level; refuse those that cannot."""
    reduced = {step.ends[1] for step in trace.steps if step.reduces} | {trace.image}
    for step in trace.steps:
        source, target = step.ends
        if step.kind not in ('factor', 'follow') or skipped(step.module):
            continue
        if min(step.ratio) < 1 and target not in reduced:
            found.refuse(step.module, f'interpolation reduces {source} to {target}',
                         'use a strided convolution or pooling there, or skip it')
            continue
        if step.kind == 'follow' or found.above.get(source) == found.above.get(target):
            continue
        module = trace.network.get_submodule(step.module)
        back = [level for level in found.levels if level.source is target]
        if not (isinstance(module, nn.ConvTranspose2d) or getattr(module, 'scale_factor', None)):
            found.refuse(
                step.module, f'it is resized by a fixed factor in a function call, from '
                f'{step.source} to {step.target}',
                'give interpolate the size of the map to meet, or call nn.Upsample')
        elif not back:
            found.refuse(
                step.module, f'it resizes to {step.target}, which no DynOPool starts from',
                'skip the layers between')
        elif found.follows.setdefault(step.module, back[0]) is not back[0]:
            found.refuse(step.module, 'it resizes to more than one resolution',
                         'use a module of its own for each')
