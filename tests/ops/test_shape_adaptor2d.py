"""shape_adaptor2d: an independent slow reference, gradients, sizes, bad arguments."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmseg_dynopool.ops import shape_adaptor2d
from mmseg_dynopool.ops.shape_adaptor import shape_adaptor_alpha


def pooled(x, ratio, mean):
    """A plane in equal windows, pixel by pixel."""
    if ratio == 1:
        return x
    height, width = (max(1, math.floor(n * ratio + 0.5)) for n in x.shape)
    out = torch.empty(height, width, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            window = x[i * x.shape[0] // height:-(-(i + 1) * x.shape[0] // height),
                       j * x.shape[1] // width:-(-(j + 1) * x.shape[1] // width)]
            out[i, j] = window.mean() if mean else window.max()
    return out


def resized(x, size):
    """Bilinear, pixel by pixel; the pixels beyond the border repeat the border's."""
    out = torch.empty(size, dtype=x.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            y = (i + 0.5) * x.shape[0] / size[0] - 0.5
            z = (j + 0.5) * x.shape[1] / size[1] - 0.5
            total = 0
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(z), math.floor(z) + 1):
                    share = max(0, 1 - abs(y - row)) * max(0, 1 - abs(z - column))
                    total = total + share * x[min(max(row, 0), x.shape[0] - 1),
                                              min(max(column, 0), x.shape[1] - 1)]
            out[i, j] = total
    return out


@pytest.mark.parametrize('size, weight, ratios', [
    ((8, 12), 0.5, (0.5, 1.0)),
    ((9, 7), 0.3, (0.5, 1.0)),
    ((11, 10), 0.8, (0.25, 0.9)),
    ((3, 3), 0.0, (0.25, 1.0)),
    ((6, 5), 1.0, (0.5, 1.0)),
])
@pytest.mark.parametrize('pooling', ['max', 'mean'])
def test_slow_reference(size, weight, ratios, pooling):
    image = torch.randn(1, 2, *size, dtype=torch.float64)
    scale = ratios[0] + (ratios[1] - ratios[0]) * weight
    target = [max(1, math.floor(n * scale + 0.5)) for n in size]
    found = shape_adaptor2d(image, weight, ratios=ratios, pooling=pooling)
    for channel in (0, 1):
        low, high = (resized(pooled(image[0, channel], r, pooling == 'mean'), target)
                     for r in ratios)
        torch.testing.assert_close(found[0, channel], (1 - weight) * low + weight * high)


def test_ends_are_the_branches():
    image = torch.randn(2, 3, 8, 6)
    assert torch.equal(shape_adaptor2d(image, 0), F.max_pool2d(image, 2))
    for name in ('mean', 'average'):  # the latter is 0.3's
        assert torch.equal(shape_adaptor2d(image, 0, pooling=name), F.avg_pool2d(image, 2))
    assert torch.equal(shape_adaptor2d(image, 1), image)


def test_gradients():
    image = torch.randn(1, 2, 7, 9, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    for pooling in ('max', 'mean'):
        assert torch.autograd.gradcheck(
            lambda x, w, p=pooling: shape_adaptor2d(x, w, pooling=p), (image, weight))


def test_the_weight_learns_from_the_mix_alone():
    image = torch.randn(1, 1, 8, 8)
    weight = torch.tensor(0.25, requires_grad=True)
    shape_adaptor2d(image, weight).sum().backward()
    low = F.interpolate(F.max_pool2d(image, 2), (5, 5), mode='bilinear')
    high = F.interpolate(image, (5, 5), mode='bilinear')
    torch.testing.assert_close(weight.grad, (high - low).sum())


def test_align_corners_is_that_of_interpolate():
    image = torch.randn(1, 1, 8, 8)
    found = shape_adaptor2d(image, 0.25, align_corners=True)
    low, high = (F.interpolate(x, (5, 5), mode='bilinear', align_corners=True)
                 for x in (F.max_pool2d(image, 2), image))
    torch.testing.assert_close(found, 0.75 * low + 0.25 * high)


def test_alpha_is_computed_in_double():
    """A single precision weight gives the float next to the ratio's exact inverse."""
    for ratios in ((0.5, 1.0), (0.3, 0.9)):
        for weight in torch.rand(200):
            exact = 1 / (ratios[0] + (ratios[1] - ratios[0]) * weight.item())
            assert shape_adaptor_alpha(weight, ratios).tolist() == [torch.tensor(exact).item()] * 2


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('pooling', ['max', 'mean'])
def test_low_precision_is_mixed_and_summed_in_float32(dtype, pooling):
    image = torch.randn(1, 4, 30, 40).to(dtype)
    factors = torch.randn(1, 4, 21, 28)
    results = []
    for values in (image, image.float()):
        weight = torch.tensor(0.4, requires_grad=True)
        mixed = shape_adaptor2d(values, weight, pooling=pooling).to(dtype).float()
        (mixed * factors.to(dtype).float()).sum().backward()
        results.append((mixed, weight.grad))
    for low, full in zip(*results):
        assert torch.equal(low, full)


def test_dtypes_and_output_size():
    """In bfloat16 what float32 gives, but for rounding."""
    image = torch.randn(1, 2, 10, 10).bfloat16()
    found, by_weight = [], []
    for dtype in (torch.bfloat16, torch.float32):
        weight = torch.tensor(0.296875, dtype=dtype, requires_grad=True)  # exact in both
        found.append(shape_adaptor2d(image.to(dtype), weight, output_size=(4, 9)))
        found[-1].float().sum().backward()
        by_weight.append(weight.grad)
    assert found[0].dtype == torch.bfloat16 and found[0].shape == (1, 2, 4, 9)
    torch.testing.assert_close(found[0].float(), found[1], rtol=2e-2, atol=2e-2)
    assert by_weight[0].dtype == torch.bfloat16 and by_weight[1].abs() > 1
    torch.testing.assert_close(by_weight[0].float(), by_weight[1], rtol=2e-2, atol=0.1)


@pytest.mark.parametrize('arguments, words', [
    (dict(input=torch.zeros(3, 4, 4)), ['4-D', '(3, 4, 4)']),
    (dict(weight=torch.zeros(2)), ['one value', '(2,)']),
    (dict(weight=torch.tensor(1)), ['floating', 'int64']),
    (dict(weight=1.5), ['0', '1', '1.5']),
    (dict(weight=float('nan')), ['nan']),
    (dict(weight=torch.tensor(float('nan'))), ['finite', 'nan']),
    (dict(ratios=(0.5, 0.5)), ['r1 < r2', '(0.5, 0.5)']),
    (dict(ratios=(0, 1.0)), ['ratios', '(0, 1.0)']),
    (dict(ratios=(0.5, 2.0)), ['ratios', '(0.5, 2.0)']),
    (dict(ratios=0.5), ['ratios', '0.5']),
    (dict(pooling='sum'), ['pooling', "'sum'"]),
    (dict(align_corners=None), ['align_corners', 'None']),
    (dict(output_size=(0, 3)), ['output_size', '(0, 3)']),
])
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError) as error:
        shape_adaptor2d(**dict(input=torch.zeros(1, 1, 4, 4), weight=0.5) | arguments)
    for word in words:
        assert word in str(error.value)
