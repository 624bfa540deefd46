"""Properties of the operator and its module that hold for any size, scale, dtype and layout.

The examples are the same in every run.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_dynopool.layers import DynOPool
from mmseg_dynopool.ops import dynopool2d, pooled_size
from mmseg_dynopool.ops.pooling import ANCHORS, REDUCTIONS

settings.register_profile('fuzz', derandomize=True, deadline=None, max_examples=300,
                          database=None)
fuzz = settings(settings.get_profile('fuzz'))

# Rounding of the values and, in float32, of the queries' positions up to 64 pixels from the edge.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}

alphas = st.tuples(*[st.one_of(st.floats(0.5, 8), st.floats(8, 70),
                               st.sampled_from([0.5, 1, 2, 3, 4, 70]))] * 2)
sizes = st.tuples(st.integers(1, 64), st.integers(1, 64))
seeds = st.integers(0, 10**6)
anchors = st.sampled_from(ANCHORS)
windows = st.sampled_from([1, 2.5, 8, 64])
reductions = st.sampled_from(REDUCTIONS)


@st.composite
def images(draw, dtypes=tuple(TOLERANCE), batches=(0, 1, 2, 3), largest=64):
    """Images of any layout: contiguous, channels last, strided and transposed views."""
    size = tuple(draw(st.integers(1, largest)) for _ in range(2))
    shape = (draw(st.sampled_from(batches)), draw(st.integers(1, 8)), *size)
    dtype = draw(st.sampled_from(dtypes))
    layout = draw(st.sampled_from(['contiguous', 'channels_last', 'strided', 'transposed']))
    generator = torch.Generator().manual_seed(draw(seeds))

    def make(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    n, c, h, w = shape
    if layout == 'strided':
        return make(n, c, 2 * h, 3 * w)[:, :, ::2, 1::3]
    if layout == 'transposed':
        return make(n, c, w, h).transpose(2, 3)
    image = make(*shape)
    return image.to(memory_format=torch.channels_last) if layout == 'channels_last' else image


def run(image, alpha, learned=True, weight=None, **options):
    """Output, and the gradients of input and alpha of a weighting of it."""
    image = image.detach().requires_grad_(learned)
    alpha = torch.tensor(alpha, dtype=torch.float64).requires_grad_(learned)
    output = dynopool2d(image, alpha, **options)
    if not learned:
        return output
    weight = weigh(output) if weight is None else weight
    return output.detach(), *torch.autograd.grad(output, (image, alpha), weight)


def weigh(output):
    """Random weights, the same for each output of a shape and dtype."""
    return torch.randn(output.shape, generator=torch.Generator().manual_seed(1),
                       dtype=torch.float64).to(output.dtype)


def reference(image, output_size, reduce):
    """The four queries of each cell as dense matrices of bilinear weights, in float64."""
    rows, columns = (_weights(n, m) for n, m in zip(image.shape[2:], output_size))
    queries = rows @ image.double() @ columns.T
    n, c, h, w = queries.shape
    queries = queries.reshape(n, c, h // 2, 2, w // 2, 2)
    return queries.amax((3, 5)) if reduce == 'max' else queries.mean((3, 5))


def _weights(size_in, size_out):
    """``(2 * size_out, size_in)``: a hat around each query, which stays inside the centres."""
    query = (torch.arange(2 * size_out, dtype=torch.float64) + 0.5) * size_in / (2 * size_out)
    query = (query - 0.5).clamp(0, size_in - 1)
    pixel = torch.arange(size_in, dtype=torch.float64)
    return (1 - (query[:, None] - pixel).abs()).clamp_min(0)


@fuzz
@given(image=images(), alpha=alphas, anchor=anchors, window=windows, reduce=reductions)
def test_output(image, alpha, anchor, window, reduce):
    size = pooled_size(image.shape[2:], alpha)
    options = dict(anchor=anchor, window=window, reduce=reduce)
    output = run(image, alpha, learned=False, **options)
    assert output.shape == (*image.shape[:2], *size)
    assert output.dtype == image.dtype
    tolerance = TOLERANCE[image.dtype]
    torch.testing.assert_close(output.double(), reference(image, size, reduce), rtol=tolerance,
                               atol=tolerance)
    if len(image):
        slack = 4 * torch.finfo(image.dtype).eps * image.abs().max()
        assert output.max() <= image.max() + slack and output.min() >= image.min() - slack
    learning = run(image, alpha, **options)[0]
    assert torch.equal(output, learning), 'the value must not depend on what is learned'


@given(size=st.integers(1, 4096), alpha=st.floats(0.5, 70))
@settings(fuzz, max_examples=300)
def test_pooled_size(size, alpha):
    """The nearest whole number of cells, at least one; a tie goes up."""
    out, other = pooled_size((size, 1), (alpha, 1.0))
    assert isinstance(out, int) and out >= 1 and other == 1
    exact = size / alpha
    assert out == 1 or out - 0.5 <= exact
    assert exact < out + 0.5


@fuzz
@given(image=images(), alpha=alphas, anchor=anchors, window=windows, reduce=reductions)
def test_gradients_are_finite_and_repeat_bit_for_bit(image, alpha, anchor, window, reduce):
    options = dict(anchor=anchor, window=window, reduce=reduce)
    output, by_input, by_alpha = run(image, alpha, **options)
    assert by_input.shape == image.shape and by_input.dtype == image.dtype
    assert by_input.isfinite().all() and by_alpha.isfinite().all()
    again = run(image, alpha, **options)
    assert all(torch.equal(a, b) for a, b in zip((output, by_input, by_alpha), again))
    if not len(image):
        assert by_alpha.tolist() == [0, 0]


@fuzz
@given(image=images(), alpha=alphas, anchor=anchors, reduce=reductions)
def test_gradient_of_the_input_is_that_of_resize_and_reduction(image, alpha, anchor, reduce):
    size = pooled_size(image.shape[2:], alpha)
    _, ours, _ = run(image, alpha, anchor=anchor, reduce=reduce)
    leaf = image.detach().requires_grad_()
    queries = F.interpolate(leaf, [2 * n for n in size], mode='bilinear')
    pooled = F.max_pool2d(queries, 2) if reduce == 'max' else F.avg_pool2d(queries, 2)
    theirs, = torch.autograd.grad(pooled, leaf, weigh(pooled))
    assert torch.equal(ours, theirs)


@fuzz
@given(image=images(batches=(2, 3)), alpha=alphas, reduce=reductions)
def test_each_image_alone_gives_the_same_bits(image, alpha, reduce):
    weight = weigh(run(image, alpha, learned=False))
    output, by_input, by_alpha = run(image, alpha, weight=weight, reduce=reduce)
    alone = [run(image[i:i + 1], alpha, weight=weight[i:i + 1], reduce=reduce)
             for i in range(len(image))]
    assert torch.equal(output, torch.cat([a[0] for a in alone]))
    assert torch.equal(by_input, torch.cat([a[1] for a in alone]))
    # Alpha is shared: its gradient is the sum, rounded in another order.
    tolerance = 1e-10 if image.dtype == torch.float64 else 1e-3
    torch.testing.assert_close(by_alpha, sum(a[2] for a in alone), rtol=tolerance,
                               atol=tolerance)


@fuzz
@given(image=images(dtypes=(torch.float64, torch.float32)), alpha=alphas,
       shift=st.sampled_from([-3.0, 0.25, 100.0]), factor=st.sampled_from([0.5, 2.0, 1024.0]))
def test_shift_and_scale_of_the_values(image, alpha, shift, factor):
    """A shift stays but for rounding, a power of two exactly; so do the gradients."""
    output, by_input, by_alpha = run(image, alpha)
    scaled = run(image * factor, alpha)
    assert torch.equal(scaled[0], output * factor)
    assert torch.equal(scaled[1], by_input)
    torch.testing.assert_close(scaled[2], by_alpha * factor, rtol=1e-12, atol=0)
    tolerance = TOLERANCE[image.dtype] * (4 + 2 * abs(shift))
    torch.testing.assert_close(run(image + shift, alpha, learned=False), output + shift,
                               rtol=0, atol=tolerance)


@fuzz
@given(image=images(dtypes=(torch.float64, )), alpha=alphas, reduce=reductions)
def test_a_flip_of_the_image_flips_the_output(image, alpha, reduce):
    output = run(image, alpha, learned=False, reduce=reduce)
    for dims in ((2, ), (3, ), (2, 3)):
        flipped = run(image.flip(dims), alpha, learned=False, reduce=reduce)
        torch.testing.assert_close(flipped.flip(dims), output, rtol=1e-12, atol=1e-12)


@fuzz
@given(image=images(dtypes=(torch.float64, )), alpha=alphas, anchor=anchors, window=windows)
def test_a_transposed_image_swaps_height_and_width(image, alpha, anchor, window):
    output = run(image, alpha, learned=False, anchor=anchor, window=window)
    turned = run(image.transpose(2, 3), alpha[::-1], learned=False, anchor=anchor, window=window)
    torch.testing.assert_close(turned.transpose(2, 3), output, rtol=1e-12, atol=1e-12)
    if len(set(image.flatten().tolist())) == image.numel() > 1 and not _at_border(image, alpha):
        weight = weigh(output)
        options = dict(anchor=anchor, window=window)
        ours = run(image, alpha, weight=weight, **options)[2]
        theirs = run(image.transpose(2, 3), alpha[::-1], weight=weight.transpose(2, 3),
                     **options)[2]
        torch.testing.assert_close(ours, theirs.flip(0), rtol=1e-9, atol=1e-9)


def _at_border(image, alpha):
    """Whether two queries of a cell lie beyond the border's pixel centre: they are equal, and
    which of them is the maximum depends on the order of reading."""
    size = pooled_size(image.shape[2:], alpha)
    return any(3 * n <= 2 * m for n, m in zip(image.shape[2:], size))


@fuzz
@given(size=sizes, alpha=alphas, value=st.integers(-800, 800).map(lambda eighths: eighths / 8),
       anchor=anchors, window=windows, dtype=st.sampled_from(list(TOLERANCE)), reduce=reductions)
def test_constant_images_give_alpha_no_gradient(size, alpha, value, anchor, window, dtype, reduce):
    image = torch.full((2, 3, *size), value, dtype=torch.float64).to(dtype)
    output, by_input, by_alpha = run(image, alpha, anchor=anchor, window=window, reduce=reduce)
    torch.testing.assert_close(output, image[..., :1, :1].expand_as(output), rtol=1e-6, atol=0)
    assert by_alpha.tolist() == [0, 0]
    assert by_input.isfinite().all()


@pytest.mark.parametrize('reduce', REDUCTIONS)
@pytest.mark.parametrize('anchor', ANCHORS)
@given(height=st.integers(2, 64), alpha=st.floats(1, 20), slope=st.sampled_from([-2.0, 0.5]),
       window=windows)
@settings(fuzz, max_examples=30)
def test_gradient_of_alpha_on_a_ramp(reduce, anchor, height, alpha, slope, window):
    """On a ramp each cell takes the same of its queries, or all; one moves with slope times
    lever."""
    image = (slope * torch.arange(height, dtype=torch.float64)).view(1, 1, -1, 1)
    _, by_alpha = _ramp(image, alpha, anchor, window, reduce)
    (cells, _) = pooled_size((height, 1), (alpha, 1.0))
    cell = height / cells
    expected = 0.0
    taken = [0.25, 0.75] if reduce == 'mean' else [0.75 if slope > 0 else 0.25]
    for k in (i + part for i in range(cells) for part in taken):
        at = k * cell - 0.5
        # Beyond a border's pixel centre the surface is flat; on it, the slope is half.
        inside = 0.5 * ((at >= 0) + (at > 0)) * 0.5 * ((at <= height - 1) + (at < height - 1))
        expected += inside * slope * _lever(k, cells, anchor, window) / len(taken)
    expected *= (cell / alpha)**2
    assert by_alpha[0].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert by_alpha[1].item() == 0


def _ramp(image, alpha, anchor, window, reduce):
    leaf = torch.tensor([alpha, 1.0], dtype=torch.float64, requires_grad=True)
    output = dynopool2d(image, leaf, anchor=anchor, window=window, reduce=reduce)
    return output, torch.autograd.grad(output.sum(), leaf)[0]


def _lever(k, cells, anchor, window):
    """Distance of a query from its anchor, in cells (the design's section 2.2)."""
    if anchor == 'corner':
        return k
    if anchor == 'center':
        return k - cells / 2
    count = max(1, round(cells / window))
    return k - (math.floor(k * count / cells + 1e-12) + 0.5) * cells / count


@pytest.mark.parametrize('size, alpha', [((5, 7), (1.7, 2.3)), ((6, 3), (2.9, 0.7)),
                                         ((4, 9), (0.6, 1.3))])
@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_gradcheck(size, alpha, reduce):
    image = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    fixed = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: dynopool2d(x, fixed, reduce=reduce), image)


@fuzz
@given(image=images(), alpha=alphas, anchor=anchors, window=windows,
       bounds=st.sampled_from([(0.125, 1.0), (0.25, 0.5), (0.01, 2.0)]), reduce=reductions)
def test_module_equals_function_at_the_bounded_alpha(image, alpha, anchor, window, bounds, reduce):
    """Alphas lie inside the bounds and beyond them on both sides."""
    pool = DynOPool(bounds[1], bounds, anchor, window).double()
    with torch.no_grad():
        pool.alpha.copy_(torch.tensor(alpha))
    kept = pool.alpha.detach().clone()
    low, high = 1 / bounds[1], 1 / bounds[0]
    bounded = [min(max(a, low), high) for a in kept.tolist()]
    leaf = image.detach().requires_grad_()
    output = pool(leaf, reduce=reduce)
    expected, by_input, by_alpha = run(image, bounded, anchor=anchor, window=window,
                                       reduce=reduce)
    assert output.shape[2:] == pool.output_size(image.shape[2:])
    assert torch.equal(output, expected)
    gradients = torch.autograd.grad(output, (leaf, pool.alpha), weigh(output))
    assert torch.equal(gradients[0], by_input) and torch.equal(gradients[1], by_alpha)
    assert torch.equal(pool.alpha, kept), 'forward must not write the parameter'
