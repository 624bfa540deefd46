"""DynOPool as a slow, independent reference, whose gradients are autograd's."""

import math
from fractions import Fraction

import torch
import torch.nn.functional as F

STOCK = dict(max=F.max_pool2d, mean=F.avg_pool2d)


def reference_autograd(image, alpha, anchor, window, reduce):
    """The straight-through sizes and the anchored grid, differentiated by autograd."""
    grids = []
    for axis in (0, 1):
        size_in = image.shape[2 + axis]
        soft = size_in / alpha[axis]
        size_out = max(1, math.floor(soft.item() + 0.5))
        cell = size_in / (size_out + soft - soft.detach())
        k = (torch.arange(2 * size_out, dtype=image.dtype) + 0.5) / 2
        if anchor == 'corner':
            k0 = torch.zeros_like(k)
        elif anchor == 'center':
            k0 = torch.full_like(k, size_out / 2)
        else:
            windows = max(1, round(size_out / window))
            length = size_out / windows
            # Exact, for queries on a window's edge.
            own = [math.floor(Fraction((2 * j + 1) * windows, 4 * size_out))
                   for j in range(2 * size_out)]
            k0 = (torch.tensor(own, dtype=image.dtype) + 0.5) * length
        q = (k - k0) * cell + (k0 * cell).detach()
        grids.append(2 * q / size_in - 1)
    grid = torch.stack(torch.meshgrid(*grids, indexing='ij')[::-1], -1)
    queries = F.grid_sample(image, grid.expand(len(image), -1, -1, -1), mode='bilinear',
                            padding_mode='border', align_corners=False)
    return STOCK[reduce](queries, 2)
