"""Theoretical receptive fields: the pixels that a unit can depend on, whatever the weights.

They are found by running the network, not by formulas: where nothing can cancel, there is a
gradient wherever a path leads. So convolutions have one channel and equal weights (with equal
weights all channels are the same), norms and activations do nothing, and poolings take the mean
instead of the maximum. Height and width are separate, so each axis is measured on a narrow canvas
as long as necessary.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode

from mmseg_dynopool.layers import FixedDynOPool, FixedImageResize, ImageResize
from mmseg_dynopool.layers.find import all_pools, copy_replacing
from mmseg_dynopool.models.whole_network import tensors_of

_KNOWN = (nn.Conv2d, _NormBase, nn.GroupNorm, nn.LayerNorm, nn.PReLU)  # with parameters
_NEUTRAL = {'batch_norm', 'instance_norm', 'group_norm', 'layer_norm', 'relu', 'relu_', 'relu6',
            'leaky_relu', 'leaky_relu_', 'gelu', 'silu', 'sigmoid', 'tanh', 'hardtanh',
            'hardtanh_', 'hardswish', 'hardsigmoid', 'prelu', 'elu', 'elu_', 'mish'}
_LONGEST = 2**17
# Pixels across the canvas; networks such as UNet take multiples of their total stride alone.
_WIDTHS = (1, 64)


class Box(NamedTuple):
    """A block of pixels; ``bottom`` and ``right`` are the first ones outside of it."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def extent(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.bottom - self.top, self.right - self.left


def theoretical_field(network: nn.Module, size: Sequence[int]) -> list[Box]:
    """Receptive field of the centre unit of each output, in pixels of the image.

    Norms are ignored: where one takes an image's own statistics, every unit depends on every
    pixel through them.

    Args:
        network: takes images ``(N, C, H, W)`` and returns one or more feature maps.
        size: ``(H, W)`` of the image in pixels, at which sizes are rounded. Its borders are
            ignored: a field may lie outside of it.

    Raises:
        ValueError: a layer is of a kind whose field is not known, the network takes no narrow
            images, or the field is longer than 131072 pixels.
    """
    known = (*_KNOWN, *map(type, all_pools(network).values()))
    for module in network.modules():
        if not isinstance(module, known) and any(True for _ in module.parameters(recurse=False)):
            raise ValueError(f'the receptive field of {type(module).__name__} is not known; the '
                             'theoretical field needs a network of convolutions, norms and '
                             'DynOPools')
    network = _at_ratios(copy_replacing(network, []), size)
    axes = [_axis_fields(network, size[axis], axis) for axis in (0, 1)]
    return [Box(*rows, *columns) for rows, columns in zip(*axes, strict=True)]


def centre(output: Tensor) -> Tensor:
    """Channels of the centre unit, ``(C,)``: that at ``(H // 2, W // 2)`` of the first image."""
    return output[0, :, output.shape[2] // 2, output.shape[3] // 2]


class _MeanPool(FixedDynOPool):
    """DynOPool with the mean of the four queries: a gradient for each of them."""

    def forward(self,
                input: Tensor,
                output_size: Sequence[int] | None = None,
                reduce: str = 'mean') -> Tensor:
        return super().forward(input, output_size, 'mean')


class _NothingCancels(TorchFunctionMode):
    """In this context the functions that a network calls have a gradient wherever they read."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        name, options = getattr(func, '__name__', ''), dict(kwargs or {})
        if name in _NEUTRAL:
            return args[0]
        if name == 'conv2d':
            image, weight, *rest = args
            options = {key: value for key, value in options.items() if key not in (
                'bias', 'groups')}
            # They sum to 1: gradients of deep networks stay far from overflow and underflow.
            kernel = torch.full_like(weight[:1, :1], 1 / weight[0, 0].numel(), dtype=image.dtype)
            return F.conv2d(image.mean(1, keepdim=True), kernel, None, *rest[1:4], **options)
        if name == 'max_pool2d':
            if options.pop('dilation', 1) not in (1, (1, 1)):
                raise ValueError('the receptive field of a dilated MaxPool2d is not known')
            options.pop('return_indices', None)
            return F.avg_pool2d(*args, **options)
        return func(*args, **options)


def _at_ratios(network: nn.Module, size: Sequence[int]) -> nn.Module:
    """A copy in which each DynOPool divides by the ratio of its rounded sizes in this image."""
    ratios: dict[nn.Module, list[float]] = {}

    def note(pool: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ratios[pool] = [i / o for i, o in zip(inputs[0].shape[2:], output.shape[2:])]

    pools = all_pools(network).values()
    for pool in pools:
        pool.register_forward_hook(note)
    network.eval()  # no chaining: mmseg's HRNet returns None from train() and eval()
    try:
        with torch.no_grad(), _NothingCancels():
            network(_canvas(network, *size))
    except Exception as error:  # from any network, of any type
        raise ValueError(f'the receptive field of {type(network).__name__} is not known '
                         f'({type(error).__name__}: {error})') from error
    replaced: dict[nn.Module, FixedDynOPool] = {}
    for pool in pools:
        kind = FixedImageResize if isinstance(pool, ImageResize | FixedImageResize) else _MeanPool
        replaced[pool] = kind()
        replaced[pool].set_alpha_(ratios.get(pool, pool.read_alpha()))  # some instance never runs
    return copy_replacing(network, replaced.items())


def _canvas(network: nn.Module, height: int, width: int) -> Tensor:
    device = next(network.parameters(), torch.zeros(0)).device
    return torch.zeros(1, 1, height, width, dtype=torch.float64, device=device)


def _axis_fields(network: nn.Module, side: int, axis: int) -> list[tuple[int, int]]:
    copies = 3  # of the image side by side; an odd number, so that the centre stays
    while copies * side <= _LONGEST:
        fields = _fields_on_canvas(network, copies * side, axis)
        if all(start > 0 and stop < copies * side for start, stop in fields):
            before = (copies - 1) // 2 * side
            return [(start - before, stop - before) for start, stop in fields]
        copies = 2 * copies + 1
    raise ValueError(f'the receptive field is longer than {copies // 2 * side} pixels along '
                     f'{"height" if axis == 0 else "width"}')


def _fields_on_canvas(network: nn.Module, length: int, axis: int) -> list[tuple[int, int]]:
    for width in _WIDTHS:
        canvas = _canvas(network, *((length, width) if axis == 0 else (width, length)))
        try:
            with _NothingCancels():
                outputs = tensors_of(network(canvas.requires_grad_()))
            break
        except Exception as error:  # from any network, of any type
            failure = error
    else:
        raise ValueError(f'the receptive field of {type(network).__name__} is not known: it takes '
                         f'no narrow images ({type(failure).__name__}: {failure})') from failure
    fields = []
    for output in outputs:
        gradient, = torch.autograd.grad(centre(output).sum(), canvas, retain_graph=True)
        touched = gradient[0].abs().sum((0, 2 - axis)).nonzero()
        fields.append((int(touched.min()), int(touched.max()) + 1))
    return fields
