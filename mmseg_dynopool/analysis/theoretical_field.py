"""Theoretical receptive fields: the pixels that a unit can depend on, whatever the weights.

They are found by running the network, not by formulas: a copy in which nothing can cancel has a
gradient wherever a path leads. Its convolutions have one channel and equal weights (with equal
weights all channels would be the same), norms, activations and dropout do nothing, and poolings
take the mean instead of the maximum. All of these act on height and width separately, so each axis
is measured on a narrow canvas as long as necessary, across which nothing slides or is pooled. Where
the image is resized first, the field is in its pixels before.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from mmseg_dynopool.conversion.modules import Converted
from mmseg_dynopool.conversion.shared_pool import SharedPool
from mmseg_dynopool.conversion.variants import DynOPooling, PooledModule, mix_in
from mmseg_dynopool.costs.meta_copy import Stripped
from mmseg_dynopool.layers import DynOPoolConv2d, FixedDynOPool, FixedImageResize, ImageResize
from mmseg_dynopool.layers.find import all_pools, copy_replacing

_NEUTRAL = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU,
            nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.PReLU, nn.ELU,
            nn.Mish, _DropoutNd)
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
    """Receptive field of the centre unit of each output.

    Norms are ignored: where one takes an image's own statistics, every unit depends on every
    pixel through them.

    Args:
        network: takes images ``(N, 3, H, W)`` and returns one or more feature maps.
        size: ``(H, W)`` of the image, whose borders are not regarded: below 0 or beyond ``size``
            a field lies outside of it.

    Raises:
        ValueError: a layer is of a kind whose field is not known, the network takes no narrow
            images, or the field is longer than 131072 pixels.
    """
    axes = [_axis_fields(network, size, axis) for axis in (0, 1)]
    return [Box(*rows, *columns) for rows, columns in zip(*axes, strict=True)]


def _axis_fields(network: nn.Module, size: Sequence[int], axis: int) -> list[tuple[int, int]]:
    side = size[axis]
    ratios, width = _pool_ratios(network, size, axis)
    copies = 3  # of the image side by side; an odd number, so that the centre stays
    while copies * side <= _LONGEST:
        fields = _fields_on_canvas(network, ratios, copies * side, axis, width)
        if all(start > 0 and stop < copies * side for start, stop in fields):
            before = (copies - 1) // 2 * side
            return [(start - before, stop - before) for start, stop in fields]
        copies = 2 * copies + 1
    raise ValueError(f'the receptive field is longer than {copies // 2 * side} pixels along '
                     f'{"height" if axis == 0 else "width"}')


def _fields_on_canvas(network: nn.Module, ratios: dict[str, float], length: int, axis: int,
                      width: int) -> list[tuple[int, int]]:
    canvas = _canvas(length, axis, width).requires_grad_()
    fields = []
    for output in outputs_of(_positive_copy(network, ratios, axis), canvas):
        gradient, = torch.autograd.grad(centre(output).sum(), canvas, retain_graph=True)
        touched = gradient[0, 0].abs().sum(1 - axis).nonzero()
        fields.append((int(touched.min()), int(touched.max()) + 1))
    return fields


def _canvas(length: int, axis: int, width: int) -> Tensor:
    size = (length, width) if axis == 0 else (width, length)
    return torch.zeros((1, 1, *size), dtype=torch.float64)


def outputs_of(network: nn.Module, image: Tensor) -> list[Tensor]:
    """The feature maps that a network returns, whether one or more."""
    outputs = network(image)
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def centre(output: Tensor) -> Tensor:
    """Channels of the centre unit, ``(C,)``: that at ``(H // 2, W // 2)`` of the first image."""
    return output[0, :, output.shape[2] // 2, output.shape[3] // 2]


def _pool_ratios(network: nn.Module, size: Sequence[int], axis: int
                 ) -> tuple[dict[str, float], int]:
    """Input pixels per output pixel of each DynOPool, sizes rounded as in this image.

    And how wide a canvas has to be.
    """
    ratios = {}
    positive = _positive_copy(network, {}, axis)
    for name, pool in all_pools(positive).items():
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor,
                 name: str = name) -> None:
            ratios[name] = inputs[0].shape[2 + axis] / output.shape[2 + axis]
        pool.register_forward_hook(note)
    for width in _WIDTHS:
        try:
            with torch.no_grad():
                positive(_canvas(size[axis], axis, width))
            return ratios, width
        except Exception as error:  # from any network, of any type
            failure = error
    raise ValueError(f'the receptive field of {type(network).__name__} is not known: it takes no '
                     f'narrow images ({type(failure).__name__}: {failure})') from failure


def _positive_copy(network: nn.Module, ratios: dict[str, float], axis: int) -> nn.Module:
    """A copy in which nothing cancels; ``ratios`` replace the alphas along the axis."""
    replaced: dict = {}
    for name, pool in all_pools(network).items():
        alpha = list(pool.read_alpha())
        alpha[axis] = ratios.get(name, alpha[axis])  # an instance that never ran has no ratio
        alpha[1 - axis] = 1.0
        if isinstance(pool, ImageResize | FixedImageResize):
            # A ratio is that of aligned sizes already.
            resize = replaced[pool] = FixedImageResize(multiple=1 if ratios else pool.multiple)
            resize.set_alpha_(alpha)
        else:
            replaced[pool] = _MeanPool.at_alpha(alpha)
    for module in network.modules():
        if isinstance(module, Converted):
            replaced |= {shared: SharedPool({name: replaced[shared.pool]}, name, shared.reused)
                         for name, shared in module.shared_pools.items()}
    for module in network.modules():
        if isinstance(module, _NEUTRAL):
            replaced[module] = Stripped()
        elif isinstance(module, nn.Conv2d):
            replaced[module] = _unit_conv(module, replaced, axis)
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d) and not isinstance(
                module, DynOPooling):
            replaced[module] = _mean_window(module, axis)
        elif module not in replaced and any(True for _ in module.parameters(recurse=False)):
            raise ValueError(f'the receptive field of {type(module).__name__} is not known; the '
                             'theoretical field needs a network of convolutions, norms and '
                             'DynOPools')
        if isinstance(module, PooledModule) and module in replaced:
            mix_in(replaced[module], PooledModule, pool_before=replaced.get(module.pool_before),
                   pool_behind=replaced.get(module.pool_behind),
                   same_padding=_padding_along(module.same_padding, axis))
    positive = copy_replacing(network, replaced.items())
    positive.eval()  # no chaining: mmseg's HRNet returns None from train() and eval()
    return positive


def _along(pair: int | tuple[int, ...], axis: int, across: int) -> tuple[int, int]:
    pair = (pair, pair) if isinstance(pair, int) else pair
    return (pair[0], across) if axis == 0 else (across, pair[1])


def _padding_along(padding: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Of `torch.nn.functional.pad`: left, right, top, bottom."""
    if not padding:
        return padding
    return (0, 0, *padding[2:]) if axis == 0 else (*padding[:2], 0, 0)


def _mean_window(pool: nn.MaxPool2d | nn.AvgPool2d, axis: int) -> nn.AvgPool2d:
    if getattr(pool, 'dilation', 1) not in (1, (1, 1)):
        raise ValueError('the receptive field of a dilated MaxPool2d is not known')
    return nn.AvgPool2d(_along(pool.kernel_size, axis, 1), _along(pool.stride, axis, 1),
                        _along(pool.padding, axis, 0), pool.ceil_mode)


def _unit_conv(conv: nn.Conv2d, replaced: dict, axis: int) -> nn.Conv2d:
    """The convolution along one axis; across it of size and stride 1."""
    padding = conv.padding  # a pair, 'same' or 'valid'
    options: dict[str, Any] = dict(
        kernel_size=_along(conv.kernel_size, axis, 1), bias=False,
        padding=padding if isinstance(padding, str) else _along(padding, axis, 0),
        dilation=_along(conv.dilation, axis, 1))
    if isinstance(conv, DynOPoolConv2d):
        unit: nn.Conv2d = DynOPoolConv2d(replaced[conv.pool], 1, 1, shared=True, **options)
    else:
        unit = _UnitConv(1, 1, stride=_along(conv.stride, axis, 1), **options)
    # The weights sum to 1: gradients of deep networks stay far from overflow and underflow.
    nn.init.constant_(unit.weight, 1 / unit.weight.numel())
    return unit.double()


class _UnitConv(nn.Conv2d):
    """A convolution whose input may be several maps, concatenated."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.sum(1, keepdim=True))


class _MeanPool(FixedDynOPool):
    """DynOPool with the mean of the four queries: a gradient for each of them."""

    def forward(self,
                input: Tensor,
                output_size: Sequence[int] | None = None,
                reduce: str = 'mean') -> Tensor:
        return super().forward(input, output_size, 'mean')
