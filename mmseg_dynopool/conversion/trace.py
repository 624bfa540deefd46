"""Find where a network changes its resolution, by one forward pass on the meta device.

Resolutions are recognized by size. The image is large, which costs nothing there, and its sides, 11
and 13 times a multiple of 64, are no usual number of channels at any stride.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import lcm
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmseg_dynopool.costs.meta_copy import run_on_meta

from .resolution import LostResolution, Resolution, Step, Value, Window

_POOLINGS = {'max_pool2d_with_indices': 'max', 'max_pool2d': 'max', 'avg_pool2d': 'mean'}
# Their outputs have no height and width, and need none: gates, heads, attention maps.
_REDUCTIONS = {'mean', 'sum', 'amax', 'amin', 'max', 'min', 'std', 'var', 'var_mean', 'logsumexp',
               'linalg_vector_norm', '_adaptive_avg_pool2d', 'adaptive_avg_pool2d',
               'adaptive_max_pool2d', 'topk'}
_CONTRACTIONS = {'mm', 'bmm', 'addmm', 'baddbmm'}
_WEIGHTED = {'convolution', 'mm', 'addmm', 'native_layer_norm', 'native_batch_norm',
             '_native_batch_norm_legit_no_training', 'native_group_norm'}
_PADDINGS = {'constant_pad_nd', 'reflection_pad2d', 'replication_pad2d'}
_MEETINGS = {'add', 'add_', 'sub', 'sub_', 'mul', 'mul_', 'div', 'cat', 'stack', 'where', 'maximum'}
NORMS = {'native_batch_norm', '_native_batch_norm_legit_no_training', '_native_batch_norm_legit',
         'cudnn_batch_norm', 'batch_norm', 'native_group_norm', 'native_layer_norm'}
POINTWISE = {'relu', 'relu_', 'hardtanh', 'hardtanh_', 'silu', 'silu_', 'gelu', 'hardswish',
             'hardswish_', 'leaky_relu', 'leaky_relu_', 'elu', 'elu_', 'mish', 'clamp', 'clamp_',
             'sigmoid', '_prelu_kernel', 'dropout', 'alias', 'detach', 'clone'}


def traced_size(model: nn.Module) -> tuple[int, int]:
    """The image size to trace at: a multiple of 64 and of every stride."""
    strides = tree_leaves([getattr(module, 'stride', 1) for module in model.modules()])
    unit = lcm(64, *(s for s in strides if isinstance(s, int) and 0 < s <= 32))
    return 11 * unit, 13 * unit


class Tracer(TorchDispatchMode):
    """Runs a network once and records its resolutions.

    Args:
        network: a copy that may get hooks, on the meta device.

    Attributes:
        image: the resolution of the image.
        steps: between resolutions, in order of execution.
        lost: where a resolution was lost.
        convolutions: ``(module, resolution)`` of each one that ran.
        between: the operators by the resolution in which they ran, ``(op, module)``.
        alive: resolutions that something is made of: outputs, steps, heads.
        outputs: those of the network that are tensors.
        unknown: modules that convolve or pool what does not come from the image, as far as known.
        results, inputs: the output and the first argument of each ``(module, call)``, if tensors.
        calls: how often each module ran.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.steps: list[Step] = []
        self.lost: list[LostResolution] = []
        self.convolutions: list[tuple[str, Resolution]] = []
        self.between: list[tuple[Resolution, str, str]] = []
        self.alive: list[Resolution] = []
        self.outputs: list[Value] = []
        self.unknown: list[str] = []
        self.results: dict[tuple[str, int], Value] = {}
        self.inputs: dict[tuple[str, int], Value] = {}
        self.calls: defaultdict[str, int] = defaultdict(int)
        self._values: dict[int, Value] = {}
        self._kept: list[Tensor] = []  # else another tensor could get the id
        self._stack: list[tuple[str, int]] = [('', 0)]
        for name, module in network.named_modules():
            if isinstance(module, torch.jit.ScriptModule):  # it takes no hooks
                continue
            # Functions, which copies of a module share; a method would be copied with the tracer.
            module.register_forward_pre_hook(
                lambda module, args, name=name: self._enter(name, args))
            module.register_forward_hook(lambda module, args, output: self._leave(output))

    @property
    def at(self) -> str:
        """The module that runs, after an error the one it occurred in."""
        return self._stack[-1][0]

    def run(self, image: Tensor, forward: Callable) -> None:
        """Trace ``forward(network, image)``."""
        self.image = Resolution((image.shape[-2], image.shape[-1]))
        self.alive.append(self.image)
        self.pixels = Value(self.image, {self.image.size: self.image})
        self._keep(image, self.pixels)
        with torch.no_grad(), self:
            outputs = forward(self.network, image)
        self.outputs = self._values_of(outputs)
        self.alive += [v.resolution for v in self.outputs if v.resolution is not None]

    def pixel_values(self) -> set[Value]:
        """The image and what is made of it without weights, such as a padded one."""
        found: set[Value] = set()
        waiting = [self.pixels]
        while waiting:
            value = waiting.pop()
            if value not in found:
                found.add(value)
                waiting += [user for user in value.users
                            if user.op not in _CONTRACTIONS | {'convolution'}]
        return found

    def __torch_dispatch__(self, func: OpOverload, types: Sequence[type],
                           args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
                           ) -> Any:
        output = run_on_meta(func, args, kwargs)
        inputs = self._values_of((args, kwargs))
        op = func._overloadpacket.__name__
        if not inputs and (op in _POOLINGS or op == 'convolution'):
            self.unknown.append(self.at)
        if inputs:
            tensors = [t for t in tree_leaves(output) if isinstance(t, Tensor)]
            if op in _POOLINGS or op in NORMS:
                tensors = tensors[:1]  # not indices or statistics
            for tensor in tensors:
                self._record(op, tensor, inputs, args, kwargs or {})
        return output

    def _values_of(self, tensors: Any) -> list[Value]:
        return [self._values[id(t)] for t in tree_leaves(tensors)
                if isinstance(t, Tensor) and id(t) in self._values]

    def _record(self, op: str, tensor: Tensor, inputs: list[Value], args: tuple[Any, ...],
                kwargs: dict[str, Any]) -> None:
        module, call = self._stack[-1]
        ancestors: dict[tuple[int, int], Resolution] = {}
        for value in inputs:
            ancestors |= value.ancestors
        value = Value(None, ancestors, [], module, call, op)
        for source in inputs:
            source.users.append(value)
        if op in _WEIGHTED:
            for source in inputs:
                for change in source.lost:
                    change.weighted = True
        if tensor.dim() == 4 and args and isinstance(args[0], Tensor) and (
                op in _POOLINGS or op == 'convolution' or 'upsample' in op):
            value.resolution = self._step(op, tensor, inputs[0], value, args, kwargs)
        else:
            self._match(op, tensor, inputs, value)
        if value.resolution is not None:
            value.ancestors = {**ancestors, value.resolution.size: value.resolution}
            self.between.append((value.resolution, op, module))
            if op == 'convolution':
                self.convolutions.append((module, value.resolution))
        self._keep(tensor, value)

    def _step(self, op: str, tensor: Tensor, source: Value, value: Value, args: tuple[Any, ...],
              kwargs: dict[str, Any]) -> Resolution | None:
        """Resolution of the output of an operator that can change it."""
        size = tensor.shape[2], tensor.shape[3]
        if source.resolution is None or source.resolution.size == size:
            value.lost = list(source.lost)
            if source.lost and 'upsample' not in op and any(
                    n > 2 * m - 2 > 0 for n, m in zip(args[0].shape[2:], size)):
                self.unknown.append(value.module)
            # From a pooled summary back to a map, as in pyramid pooling.
            return source.resolution or (source.ancestors.get(size) if 'upsample' in op else None)
        window: Window | None = None
        if 'upsample' in op:
            given = tree_leaves((args[2:], kwargs))
            module = self.network.get_submodule(value.module)
            fixed = any(type(a) is float for a in given) or getattr(
                module, 'scale_factor', None) is not None
            kind = 'factor' if fixed else 'follow'
        elif op == 'convolution':
            kernel, (stride, padding, dilation, transposed) = args[1].shape[2:], args[3:7]
            kind = 'factor' if transposed else 'conv' if max(stride) > 1 else 'margin'
            window = (tuple(kernel), _pair(stride), _pair(padding), _pair(dilation), False)
        else:
            window = _pooling_window(op, args, kwargs)
            kind = _POOLINGS[op] if max(window[1]) > 1 else 'margin'
        target = source.ancestors.get(size) if kind in ('factor', 'follow') else None
        target = target or Resolution(size)
        self.steps.append(Step(kind, value.module, value.call, source.resolution, target, window,
                               source, value))
        self.alive.append(source.resolution)
        return target

    def _match(self, op: str, tensor: Tensor, inputs: list[Value], value: Value) -> None:
        """Set the resolution of the output of any other operator: that of an input, by size."""
        current = [source.resolution for source in inputs if source.resolution is not None]
        lost = list(dict.fromkeys(change for source in inputs if source.resolution is None
                                 for change in source.lost))
        if op in _PADDINGS and current:  # a margin, as for 'same' padding
            value.resolution = current[0]
            return
        shape = tuple(tensor.shape)
        pairs = [(shape[i], shape[i + 1]) for i in reversed(range(1, len(shape) - 1))]
        for hits in [[r for r in current if r.size == pair] for pair in pairs] + [
                [r for r in current if r.pixels == n > 1] for n in shape]:
            if hits:
                for other in hits[1:] if op in _MEETINGS else ():
                    hits[0].unite(other)
                value.resolution = hits[0]
                return
        if op in _REDUCTIONS | _CONTRACTIONS:
            self.alive += current if op in _REDUCTIONS else []
            value.lost = lost if op in _CONTRACTIONS else []
            return
        known = value.ancestors
        tokens = {r.pixels: r for r in known.values() if r.pixels > 1}
        again = [known[pair] for pair in pairs if pair in known] + [
            tokens[n] for n in shape if n in tokens]
        if again and (lost or not current):
            value.resolution = again[0]
            for change in lost:
                if again[0].find() in [r.find() for r in change.source]:
                    change.returned = True
                else:
                    change.weighted = True
            return
        if current and max(r.pixels for r in current) > 1:
            self.alive += current
            lost.append(LostResolution(value.module, op, current))
            self.lost.append(lost[-1])
        value.lost = lost

    def _keep(self, tensor: Tensor, value: Value) -> None:
        self._kept.append(tensor)
        self._values[id(tensor)] = value

    def _enter(self, name: str, args: tuple[Any, ...]) -> None:
        self.calls[name] += 1
        self._stack.append((name, self.calls[name]))
        if args and id(args[0]) in self._values:
            self.inputs[self._stack[-1]] = self._values[id(args[0])]

    def _leave(self, output: object) -> None:
        place = self._stack.pop()
        if isinstance(output, Tensor) and id(output) in self._values:
            self.results[place] = self._values[id(output)]


def _pooling_window(op: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Window:
    names = ['kernel_size', 'stride', 'padding', 'dilation', 'ceil_mode']
    if op == 'avg_pool2d':
        names.remove('dilation')
    given = dict(zip(names, args[1:])) | kwargs
    kernel = _pair(given['kernel_size'])
    return (kernel, _pair(given.get('stride') or kernel), _pair(given.get('padding', 0)),
            _pair(given.get('dilation', 1)), bool(given.get('ceil_mode', False)))


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, )
    return pair[0], pair[-1]
