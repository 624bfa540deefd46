"""The operator against slow, independent references."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_dynopool.ops import dynopool2d, gradient, pooled_size
from mmseg_dynopool.ops.gradient import query_levers
from mmseg_dynopool.ops.pooling import ANCHORS, REDUCTIONS
from support.reference import STOCK, reference_autograd


def reference_forward(image, output_size, reduce):
    """Section 1 of the design, literally: loops over cells and queries, one pixel at a time."""
    n, c, height, width = image.shape
    out_h, out_w = output_size
    output = torch.empty(n, c, out_h, out_w, dtype=image.dtype)

    def read(y, x):
        y, x = (min(max(v, 0.0), size - 1.0) for v, size in ((y, height), (x, width)))
        y0, x0 = min(int(y), height - 1), min(int(x), width - 1)
        y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
        fy, fx = y - y0, x - x0
        return ((1 - fy) * ((1 - fx) * image[:, :, y0, x0] + fx * image[:, :, y0, x1]) + fy *
                ((1 - fx) * image[:, :, y1, x0] + fx * image[:, :, y1, x1]))

    for i in range(out_h):
        for j in range(out_w):
            cell_h, cell_w = height / out_h, width / out_w
            p_h, p_w = (i + 0.5) * cell_h, (j + 0.5) * cell_w
            queries = [
                read(p_h + s * cell_h / 4 - 0.5, p_w + t * cell_w / 4 - 0.5)
                for s in (-1, 1) for t in (-1, 1)
            ]
            stacked = torch.stack(queries)
            output[:, :, i, j] = stacked.amax(0) if reduce == 'max' else stacked.mean(0)
    return output


def alphas(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_alpha_two_is_stock_pooling_bit_for_bit(dtype, memory_format, reduce):
    image = torch.randn(2, 5, 18, 30).to(dtype).to(memory_format=memory_format)
    image[0, 0, 3, 3] = float('inf')
    image[1, 2, 4, 5] = -float('inf')
    alpha = alphas(2.0, 2.0, dtype=torch.float32)
    image.requires_grad_()
    pooled = dynopool2d(image, alpha, reduce=reduce)
    stock = STOCK[reduce](image, 2)
    assert pooled.dtype == dtype
    assert torch.equal(pooled, stock)
    assert torch.equal(dynopool2d(image, (2.0, 2.0), reduce=reduce), stock)
    weight = torch.randn_like(pooled)
    ours, = torch.autograd.grad(pooled, image, weight)
    theirs, = torch.autograd.grad(stock, image, weight)
    assert torch.equal(ours, theirs)
    assert ours.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize('reduce', REDUCTIONS)
@given(
    size=st.tuples(st.integers(1, 23), st.integers(1, 23)),
    alpha=st.tuples(st.floats(0.4, 9.0), st.floats(0.4, 9.0)),
    seed=st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_forward_equals_loops(reduce, size, alpha, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 2, *size, dtype=torch.float64, generator=generator)
    alpha = torch.tensor(alpha, dtype=torch.float64)
    pooled = dynopool2d(image, alpha, reduce=reduce)
    expected = reference_forward(image, pooled_size(size, alpha.tolist()), reduce)
    torch.testing.assert_close(pooled, expected, rtol=1e-10, atol=1e-10)
    learning = dynopool2d(image, alpha.clone().requires_grad_(), reduce=reduce)
    assert torch.equal(pooled, learning)


@pytest.mark.parametrize('reduce', REDUCTIONS)
@pytest.mark.parametrize('anchor', ANCHORS)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    alpha=st.tuples(st.floats(0.6, 7.0), st.floats(0.6, 7.0)),
    window=st.sampled_from([1, 2.5, 8]),
    seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_gradients_equal_autograd_through_reference(reduce, anchor, size, alpha, window, seed):
    generator = torch.Generator().manual_seed(seed)
    # Irrational factors keep off the kinks on pixel centres, as the design asks.
    alpha = [a * math.pi / 3 for a in alpha]
    out = pooled_size(size, alpha)
    if any(_near_a_kink(n, m) for n, m in zip(size, out)):
        return
    image = torch.randn(2, 3, *size, dtype=torch.float64, generator=generator,
                        requires_grad=True)
    alpha = alphas(*alpha)
    ours = dynopool2d(image, alpha, anchor=anchor, window=window, reduce=reduce)
    theirs = reference_autograd(image, alpha, anchor, window, reduce)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weight = torch.randn(ours.shape, dtype=torch.float64, generator=generator)
    for a, b in zip(torch.autograd.grad(ours, (image, alpha), weight),
                    torch.autograd.grad(theirs, (image, alpha), weight)):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def _near_a_kink(size_in, size_out):
    positions = [((2 * j + 1) * size_in - 2 * size_out) / (4 * size_out)
                 for j in range(2 * size_out)]
    return any(abs(q - round(q)) < 1e-6 for q in positions)


@pytest.mark.parametrize('reduce', REDUCTIONS)
@pytest.mark.parametrize('alpha', [(2.0, 2.0), (2.3, 1.7)])
def test_a_constant_scale_can_be_differentiated_twice(reduce, alpha):
    image = torch.randn(2, 3, 9, 11, dtype=torch.float64, requires_grad=True)

    def run(image):
        return dynopool2d(image**2, alpha, reduce=reduce)

    assert torch.autograd.gradgradcheck(run, (image, ))
    expected, = torch.autograd.grad(run(image).square().sum(), image)
    found = torch.func.grad(lambda x: run(x).square().sum())(image.detach())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('reduce', REDUCTIONS)
@pytest.mark.parametrize('alpha', [(2.0, 2.0), (2.3, 1.7)])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_gradients_in_parts(reduce, alpha, memory_format, dtype, monkeypatch):
    image = torch.randn(2, 7, 32, 48).to(dtype).to(memory_format=memory_format)
    weight, found = None, []
    for together in (10**9, 3 * 32 * 48, 1):  # all 14 planes, three, one
        monkeypatch.setattr(gradient, '_TOGETHER', together)
        leaf, learned = image.clone().requires_grad_(), alphas(*alpha)
        pooled = dynopool2d(leaf, learned, reduce=reduce)
        weight = torch.randn_like(pooled) if weight is None else weight
        found.append(torch.autograd.grad(pooled, (leaf, learned), weight))
    for by_input, by_alpha in found[1:]:
        assert torch.equal(by_input, found[0][0])
        assert by_input.is_contiguous(memory_format=memory_format)
        torch.testing.assert_close(by_alpha, found[0][1],
                                   rtol=1e-4 if dtype == torch.bfloat16 else 1e-12, atol=1e-5)


@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_gradcheck_of_the_input(reduce):
    image = torch.randn(1, 2, 7, 11, dtype=torch.float64, requires_grad=True)
    for alpha in (alphas(1.7, 2.3), (1.7, 2.3)):
        assert torch.autograd.gradcheck(
            lambda x, a=alpha: dynopool2d(x, a, reduce=reduce), image)


@pytest.mark.parametrize('reduce', REDUCTIONS)
@pytest.mark.parametrize('anchor', ANCHORS)
def test_alpha_gradient_is_the_finite_difference_of_the_anchored_resampling(anchor, reduce):
    """What is differentiated: the loss of resampling a fixed number of cells whose length is
    cell = H_in / (H_in / alpha) scaled from its value at alpha, anchored at k0, by alpha. The
    number of cells stays frozen; only the positions of the queries move."""
    torch.manual_seed(3)
    image = torch.randn(1, 3, 29, 37, dtype=torch.float64)
    at = (2.3, 1.7)
    alpha = alphas(*at)
    pooled = dynopool2d(image, alpha, anchor=anchor, window=4, reduce=reduce)
    weight = torch.randn_like(pooled)
    gradient, = torch.autograd.grad(pooled, alpha, weight)
    out = pooled.shape[2:]

    def loss(moved):
        grids = []
        for axis in (0, 1):
            size_in, size_out = image.shape[2 + axis], out[axis]
            cell = size_in / size_out
            # H_out moves by H_in / moved - H_in / at; the rounding error stays.
            moved_cell = size_in / (size_out + size_in / moved[axis] - size_in / at[axis])
            k = (torch.arange(2 * size_out, dtype=torch.float64) + 0.5) / 2
            k0 = k - query_levers(size_out, anchor, 4)
            grids.append(2 * ((k - k0) * moved_cell + k0 * cell) / size_in - 1)
        grid = torch.stack(torch.meshgrid(*grids, indexing='ij')[::-1], -1)[None]
        queries = F.grid_sample(image, grid, mode='bilinear', padding_mode='border',
                                align_corners=False)
        return (STOCK[reduce](queries, 2) * weight).sum()

    step = 1e-7
    for axis in (0, 1):
        up, down = list(at), list(at)
        up[axis] += step
        down[axis] -= step
        difference = (loss(up) - loss(down)) / (2 * step)
        torch.testing.assert_close(gradient[axis], difference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('reduce, levers', [('max', 0.75), ('mean', (0.25 + 0.75) / 2)])
def test_slope_on_a_pixel_centre_is_the_mean_of_both_sides(reduce, levers):
    # 8 -> 4 cells: query j lies on pixel j. A ramp to the left, flat to the right of pixel 1;
    # pixel 0 is flat beyond the border. The levers are those of query 1, or of 0 and 1, in cells.
    image = torch.tensor([0., 6., 6., 6., 0., 0., 0., 0.], dtype=torch.float64)
    alpha = alphas(2.0, 1.0)
    pooled = dynopool2d(image.view(1, 1, 8, 1), alpha, (4, 1), anchor='corner', reduce=reduce)
    pooled[0, 0, 0, 0].backward()
    assert alpha.grad[0].item() == pytest.approx((6 + 0) / 2 * levers)


@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_gradient_follows_a_flip(reduce):
    torch.manual_seed(0)
    for size in ((16, 24), (15, 23)):
        image = torch.randn(1, 2, *size, dtype=torch.float64)
        alpha, flipped = alphas(2.0, 2.0), alphas(2.0, 2.0)
        pooled = dynopool2d(image, alpha, reduce=reduce)
        weight = torch.randn_like(pooled)
        pooled.backward(weight)
        dynopool2d(image.flip(2, 3), flipped, reduce=reduce).backward(weight.flip(2, 3))
        torch.testing.assert_close(alpha.grad, flipped.grad)


def test_the_maximum_is_taken_where_nothing_is_said():
    image = torch.randn(1, 2, 6, 9)
    assert torch.equal(dynopool2d(image, (2.3, 1.7)), dynopool2d(image, (2.3, 1.7), reduce='max'))


def test_windows_have_eight_cells_where_nothing_is_said():
    image = torch.randn(1, 2, 60, 90, dtype=torch.float64)
    gradients = []
    for options in ({}, dict(anchor='local', window=8)):
        alpha = alphas(2.3, 1.7)
        dynopool2d(image, alpha, **options).square().sum().backward()
        gradients.append(alpha.grad.tolist())
    assert gradients[0] == gradients[1]


@pytest.mark.parametrize('window', [1, 2, 8])
def test_local_levers_are_bounded_by_half_a_window(window):
    for size in (1, 3, 7, 31, 64, 255):
        lever = query_levers(size, 'local', window)
        windows = max(1, round(size / window))
        assert lever.abs().max() <= size / windows / 2
        assert lever.numel() == 2 * size


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_precision(dtype, memory_format, reduce):
    """In a low precision the result is that of float64 on the same numbers, but for rounding;
    alpha's gradient is computed in float32 or better."""
    torch.manual_seed(0)
    image = torch.randn(2, 8, 33, 47).to(dtype).to(memory_format=memory_format)
    exact = image.double().requires_grad_()
    image.requires_grad_()
    alpha = alphas(2.3, 1.4, dtype=torch.float32)
    alpha64 = alpha.detach().double().requires_grad_()
    pooled = dynopool2d(image, alpha, reduce=reduce)
    expected = dynopool2d(exact, alpha64, reduce=reduce)
    assert pooled.dtype == dtype
    tolerance = {torch.float64: 1e-7, torch.float32: 1e-5}.get(dtype, 2e-2)
    torch.testing.assert_close(pooled.double(), expected, rtol=tolerance, atol=tolerance)
    weight = torch.randn(pooled.shape).to(dtype)
    pooled.backward(weight)
    expected.backward(weight.double())
    assert alpha.grad.dtype == torch.float32
    # Low precision also flips near-ties of the maximum: the tolerance is of the whole sum.
    torch.testing.assert_close(alpha.grad.double(), alpha64.grad, rtol=0.05, atol=0.5 if
                               tolerance > 1e-3 else 1e-3)


@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_alpha_gradient_of_half_precision_is_summed_in_float32(reduce):
    """A large map whose terms share a sign: a sum in half precision would overflow or stall."""
    image = (torch.arange(256) / 4).view(1, 1, -1, 1).expand(1, 4, 256, 256)
    exact, half = (alphas(2.3, 2.3, dtype=torch.float32) for _ in range(2))
    for values, alpha in ((image, exact), (image.half(), half)):
        dynopool2d(values, alpha, anchor='corner', reduce=reduce).float().sum().backward()
    assert exact.grad[0] > 70_000  # beyond float16
    torch.testing.assert_close(half.grad[0], exact.grad[0], rtol=2e-3, atol=0)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_alpha_gradient_of_low_precision_loses_no_bit(dtype, reduce):
    """Each product is exact in float32 here, and so is their sum."""
    ramp = (torch.arange(256) / 4).to(dtype).view(1, 1, -1, 1).expand(1, 4, 256, 256)
    alpha = alphas(2.0, 2.0, dtype=torch.float32)
    dynopool2d(ramp, alpha, anchor='corner', reduce=reduce).float().sum().backward()
    # Cell i keeps query 2 i + 1, which lies on a pixel: slope 1 / 4, lever i + 3 / 4. Beyond the
    # last pixel the surface is flat: half its slope.
    column = sum((i + 0.75) / 4 for i in range(127)) + 127.75 / 8
    if reduce == 'mean':  # half of it from the queries 2 i, of which the first is at a border
        column = (column + sum((i + 0.25) / 4 for i in range(1, 128)) + 0.25 / 8) / 2
    assert alpha.grad.tolist() == [4 * 128 * column, 0.0]


@pytest.mark.parametrize('learned', [True, False])
@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_autocast_keeps_dtype_and_alpha_in_float32(learned, reduce):
    image = torch.randn(1, 4, 21, 21)
    conv = torch.nn.Conv2d(4, 4, 1)
    alpha = alphas(2.2, 2.2, dtype=torch.float32).detach().requires_grad_(learned)
    with torch.autocast('cpu', torch.bfloat16):
        features = conv(image)
        pooled = dynopool2d(features, alpha, reduce=reduce)
    assert features.dtype == pooled.dtype == torch.bfloat16
    pooled.float().sum().backward()
    assert not learned or alpha.grad.dtype == torch.float32


def test_ties_round_up_like_a_strided_convolution():
    for size in range(1, 40):
        strided = F.conv2d(torch.zeros(1, 1, size, 1), torch.zeros(1, 1, 3, 3), stride=2,
                           padding=1)
        assert pooled_size((size, 1), (2.0, 2.0)) == tuple(strided.shape[2:])


@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_empty_batch_and_given_size(reduce):
    image, alpha = torch.zeros(0, 3, 9, 8), alphas(2.0, 2.0)
    assert dynopool2d(image, alpha, reduce=reduce).shape == (0, 3, 5, 4)
    pooled = dynopool2d(torch.zeros(1, 3, 9, 8), alpha, output_size=(3, 8), reduce=reduce)
    assert pooled.shape == (1, 3, 3, 8)


@pytest.mark.parametrize('input, alpha, options, words', [
    (torch.zeros(3, 4, 4), torch.ones(2), {}, ['4-D', '(3, 4, 4)']),
    (torch.zeros(1, 3, 0, 4), torch.ones(2), {}, ['empty', '(1, 3, 0, 4)']),
    (torch.zeros(1, 3, 4, 4, dtype=torch.int64), torch.ones(2), {}, ['floating', 'int64']),
    (torch.zeros(1, 3, 4, 4), torch.ones(3), {}, ['alpha', '(3,)']),
    (torch.zeros(1, 3, 4, 4), 2.0, {}, ['alpha', '2.0']),
    (torch.zeros(1, 3, 4, 4), torch.tensor([2., float('nan')]), {}, ['finite', 'nan']),
    (torch.zeros(1, 3, 4, 4), torch.tensor([2., -1.]), {}, ['positive', '-1.0']),
    (torch.zeros(1, 3, 4, 4), torch.ones(2), dict(anchor='middle'), ['anchor', "'middle'"]),
    (torch.zeros(1, 3, 4, 4), torch.ones(2), dict(window=0.5), ['window', '0.5']),
    (torch.zeros(1, 3, 4, 4), torch.ones(2), dict(window='8'), ['window', "'8'"]),
    (torch.zeros(1, 3, 4, 4), torch.ones(2), dict(reduce='sum'), ["'mean'", "'sum'"]),
    (torch.zeros(1, 3, 4, 4), (2.0, 2.0), dict(reduce=None), ['reduce', 'None']),
    (None, torch.ones(2), {}, ['tensor', 'NoneType']),
    (torch.zeros(1, 3, 4, 4), torch.ones(2), dict(output_size=5), ['output_size', '5']),
    (torch.zeros(1, 3, 4, 4), torch.ones(2), dict(output_size=(2.5, 2)), ['2.5']),
    (torch.zeros(1, 3, 4, 4), torch.ones(2), dict(output_size=(0, 2)), ['output_size', '(0, 2)']),
])
def test_bad_input_is_named(input, alpha, options, words):
    with pytest.raises(ValueError) as error:
        dynopool2d(input, alpha, **options)
    for word in words:
        assert word in str(error.value)
