"""While torch.jit traces, sizes are tensors: a trace computes them, as eager code does."""

import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from mmseg_dynopool.layers import DynOPool, FixedDynOPool
from mmseg_dynopool.layers.image import FixedImageResize
from mmseg_dynopool.ops import dynopool2d, image_resize2d, pooled_size


def image(*size, seed=0):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))


def traced_size(alpha):
    return torch.jit.trace(lambda x: torch.zeros(pooled_size(x.shape, alpha)), torch.zeros(5, 7),
                           check_trace=False)


@pytest.mark.parametrize('scale', [(0.5, 0.7), (1 / 1.1, 0.3), (1 / 64, 1.0), (2**-0.5, 3.3),
                                   (0.125, 0.9999)], ids=str)
def test_sizes_are_those_of_eager_code(scale):
    """At any size, ties and the smallest ones among them, as alphas have single precision."""
    alpha = tuple((1 / np.float32(scale)).tolist())
    traced = traced_size(alpha)
    for n in (*range(1, 300), 1000, 4095):
        assert traced(torch.empty(1).expand(n, n)).shape == pooled_size((n, n), alpha), n


def test_the_size_at_an_alpha_in_double_precision_is_a_constant():
    """64 bits do not hold its exact ratio times a size; eager code rounds 3.4999999999999996."""
    with pytest.warns(torch.jit.TracerWarning, match='to a Python integer'):
        traced = traced_size((1 / 0.7, 2.0))
    assert pooled_size((5, 7), (1 / 0.7, 2.0)) == traced(torch.zeros(5, 7)).shape == (3, 4)
    assert traced(torch.zeros(5, 20)).shape == (3, 10)


class Pooling(nn.Module):

    def __init__(self, pool, reduce):
        super().__init__()
        self.pool, self.reduce = pool, reduce

    def forward(self, x):
        return self.pool(x, reduce=self.reduce)


@pytest.mark.parametrize('reduce', ['max', 'mean'])
@pytest.mark.parametrize('pool', [DynOPool((0.7, 0.5)), FixedDynOPool(0.5)])
def test_a_pooling(reduce, pool):
    """Also by a half, where the queries of even sides are the pixels, and those of odd ones not."""
    alpha = pool.read_alpha()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', torch.jit.TracerWarning)  # alpha becomes a constant
        traced = torch.jit.trace(Pooling(pool, reduce), image(20, 30))
    for size in ((20, 30), (21, 32), (1, 5)):
        assert torch.equal(traced(image(*size)), dynopool2d(image(*size), alpha, reduce=reduce))
    x, y = (image(20, 31).requires_grad_() for _ in range(2))
    traced(x).square().sum().backward()
    dynopool2d(y, alpha, reduce=reduce).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-6, atol=1e-6)


def test_nothing_is_read_while_a_constant_scale_is_traced():
    """A TracerWarning says that a trace may hold for the traced size alone."""
    with warnings.catch_warnings():
        warnings.simplefilter('error', torch.jit.TracerWarning)
        torch.jit.trace(FixedDynOPool((0.6, 0.5)), image(20, 30))
        torch.jit.trace(FixedImageResize((0.7, 1.0), 4), image(20, 30))


@pytest.mark.parametrize('scale, multiple', [((0.7, 0.61), 4), ((1.7, 1.0), 2), ((0.26, 3.3), 1)])
def test_an_image_that_is_resized(tmp_path, scale, multiple):
    """ONNX files of torch.jit's exporter have no resize without aliasing."""
    resize, path = FixedImageResize(scale, multiple).eval(), tmp_path / 'net.onnx'
    traced = torch.jit.trace(resize, image(64, 96))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        torch.onnx.export(resize, (image(64, 96), ), path, dynamo=False, input_names=['image'],
                          dynamic_axes=dict(image={0: 'batch', 2: 'height', 3: 'width'}))
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for size in ((64, 96), (61, 133), (17, 9)):
        expected = image_resize2d(image(*size), resize.read_alpha(), multiple)
        assert torch.equal(traced(image(*size)), expected)
        found, = session.run(None, dict(image=image(*size).numpy()))
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-5)
