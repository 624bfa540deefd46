"""Which input bins make up an output bin, for DynOPool and Shape Adaptor (supplement, Figure 1).

The weights are the Jacobians of the package's own operators, with the average in the place of the
maximum: of DynOPool's four queries, of each window of Shape Adaptor's pooled branch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmseg_dynopool.ops import dynopool2d, pooled_size, shape_adaptor2d
from mmseg_dynopool.ops.shape_adaptor import check_ratios

# Numbers in smaller bins could not be read.
_LARGEST_SIDE = 16
# Of positions: a query on a pixel's centre may read its neighbour with a weight of 1e-16.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Aggregation:
    """The ``weights (H_out, W_out, H, W)`` of the input bins in each output bin of an operator."""

    title: str
    weights: np.ndarray

    def reach(self, cell: Sequence[int]) -> tuple[int, int, int]:
        """Bins with a weight, and height and width of the block that holds them, in bins."""
        rows, columns = np.nonzero(self.weights[tuple(cell)])
        return len(rows), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def _jacobian(operator: Callable[[Tensor], Tensor], size: Sequence[int]) -> np.ndarray:
    image = torch.zeros(1, 1, *size, dtype=torch.float64)
    weights = torch.autograd.functional.jacobian(operator, image)[0, 0, :, :, 0, 0].numpy()
    weights[np.abs(weights) < _ROUNDING] = 0
    return weights


def compute_aggregations(size: Sequence[int], scale: float,
                         ratios: Sequence[float] = (0.5, 1.0)) -> list[Aggregation]:
    """DynOPool and Shape Adaptor, with branches of ``ratios``, at one target ratio for both axes.

    ``size`` is ``(H, W)`` of the input in bins.

    Raises:
        ValueError: a size is out of range, or ``scale`` does not lie within ``ratios``.
    """
    if any(not 2 <= n <= _LARGEST_SIDE for n in size):
        raise ValueError(f'--size must be two numbers of bins from 2 to {_LARGEST_SIDE}, got '
                         f'{tuple(size)}: the picture has a number in each bin')
    low, high = check_ratios(ratios)
    if not (math.isfinite(scale) and low <= scale <= high):
        raise ValueError(f'--scale {scale!r} lies outside of the ratios ({low:g}, {high:g}) that '
                         'Shape Adaptor mixes; choose one between them, or wider --ratios R1 R2')
    alpha = (1 / scale, 1 / scale)
    output_size = pooled_size(size, alpha)
    weight = (scale - low) / (high - low)
    operators = {
        'DynOPool': lambda image: dynopool2d(image, alpha, output_size, reduce='mean'),
        f'Shape Adaptor: {1 - weight:.3g} x branch r = {low:g} + {weight:.3g} x branch '
        f'r = {high:g}':
        lambda image: shape_adaptor2d(image, weight, output_size, ratios, pooling='mean')}
    return [Aggregation(title, _jacobian(operator, size))
            for title, operator in operators.items()]


def check_cell(cell: Sequence[int], output_size: Sequence[int]) -> tuple[int, int]:
    """The row and column of an output bin; a ValueError if there is no such bin."""
    if any(not 0 <= k < n for k, n in zip(cell, output_size, strict=True)):
        raise ValueError(f'--cell {tuple(cell)} lies outside of the output of {output_size[0]} x '
                         f'{output_size[1]} bins; rows and columns count from 0')
    return cell[0], cell[1]
