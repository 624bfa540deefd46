"""The supplement's Figure 1: its weights are those of the operators."""

import numpy as np
import pytest
import torch

from mmseg_dynopool.analysis.aggregation import check_cell, compute_aggregations
from mmseg_dynopool.ops import dynopool2d, shape_adaptor2d

SETTINGS = [((8, 8), 0.625, (0.5, 1.0)), ((9, 7), 0.75, (0.5, 1.0)), ((12, 8), 0.3, (0.25, 1.0)),
            ((6, 6), 0.5, (0.5, 1.0)), ((5, 10), 1.0, (0.5, 1.0))]


@pytest.mark.parametrize('size, scale, ratios', SETTINGS)
def test_weights_of_each_output_bin_sum_to_one(size, scale, ratios):
    for found in compute_aggregations(size, scale, ratios):
        np.testing.assert_allclose(found.weights.sum((2, 3)), 1, rtol=1e-12)
        assert found.weights.min() >= 0


@pytest.mark.parametrize('size, scale, ratios', SETTINGS)
def test_weights_are_those_of_the_operators(size, scale, ratios):
    dynopool, adaptor = compute_aggregations(size, scale, ratios)
    image = torch.randn(1, 1, *size, dtype=torch.float64)
    output_size = dynopool.weights.shape[:2]

    def apply(found):
        return torch.from_numpy(np.tensordot(found.weights, image[0, 0].numpy(), 2))

    weight = (scale - ratios[0]) / (ratios[1] - ratios[0])
    torch.testing.assert_close(apply(adaptor), shape_adaptor2d(
        image, weight, output_size, ratios, 'mean')[0, 0])
    # The mean of the four queries lies between what their maximum and their minimum give.
    alpha = (1 / scale, 1 / scale)
    assert (apply(dynopool) <= dynopool2d(image, alpha)[0, 0] + 1e-12).all()
    assert (apply(dynopool) >= -dynopool2d(-image, alpha)[0, 0] - 1e-12).all()


def test_at_half_dynopools_range_is_exactly_the_block_of_two_by_two():
    dynopool, adaptor = compute_aggregations((6, 10), 0.5)
    for i in range(3):
        for j in range(5):
            block = np.zeros((6, 10))
            block[2 * i:2 * i + 2, 2 * j:2 * j + 2] = 0.25
            np.testing.assert_array_equal(dynopool.weights[i, j], block)
            # At r1 Shape Adaptor is its pooled branch alone.
            np.testing.assert_array_equal(adaptor.weights[i, j], block)
            assert dynopool.reach((i, j)) == (4, 2, 2)


@pytest.mark.parametrize('scale', [0.55, 0.6, 0.625, 0.7, 0.8, 0.875, 0.95])
def test_between_the_ratios_shape_adaptors_range_is_larger(scale):
    dynopool, adaptor = compute_aggregations((16, 16), scale)
    bins = [(found.weights > 0).sum((2, 3)) for found in (dynopool, adaptor)]
    assert (bins[1] >= bins[0]).all() and bins[1].mean() > 1.4 * bins[0].mean()


@pytest.mark.parametrize('make, words', [
    (lambda: compute_aggregations((1, 8), 0.5), ['--size', '(1, 8)', '16']),
    (lambda: compute_aggregations((8, 40), 0.5), ['--size', '(8, 40)']),
    (lambda: compute_aggregations((8, 8), 0.4), ['--scale 0.4', '(0.5, 1)', '--ratios']),
    (lambda: compute_aggregations((8, 8), float('nan')), ['--scale nan']),
    (lambda: compute_aggregations((8, 8), 0.5, (1.0, 0.5)), ['ratios', '(1.0, 0.5)']),
    (lambda: check_cell((5, 0), (5, 5)), ['--cell (5, 0)', '5 x 5']),
    (lambda: check_cell((0, -1), (5, 5)), ['--cell (0, -1)']),
])
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError) as error:
        make()
    for word in words:
        assert word in str(error.value)
