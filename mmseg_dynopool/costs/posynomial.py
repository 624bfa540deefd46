"""Sums of products of powers of the scales: what a network's cost is made of."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Posynomial:
    """A sum of products of powers of the scales, ``sum_t c_t * prod_i (r_i / r_i0) ** e_ti``.

    Its logarithm is convex in the logarithms of the scales, as of every posynomial.

    Args:
        initial_scales: ``{instance: (scale_h, scale_w)}``, the ``r_i0``.
        coefficients: ``{exponents: c_t}``; the exponents are one tuple of numbers, those of
            height and width of each instance in turn.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.costs import Posynomial
        >>> terms = Posynomial({'stride2': (0.5, 0.5)}, {(1.0, 1.0): 8.0, (0.0, 0.0): 2.0})
        >>> terms.parts({'stride2': torch.tensor([2.0, 4.0])})
        tensor([4., 2.], dtype=torch.float64)
    """

    def __init__(self, initial_scales: Mapping[str, Sequence[float]],
                 coefficients: Mapping[tuple[float, ...], float]):
        self.initial_scales = {name: tuple(pair) for name, pair in initial_scales.items()}
        self.coefficients = dict(coefficients)
        self._coefficients = torch.tensor(list(self.coefficients.values()), dtype=torch.float64)
        self._exponents = torch.tensor(list(self.coefficients), dtype=torch.float64)
        self._log_initial = torch.tensor(
            [math.log(s) for pair in self.initial_scales.values() for s in pair],
            dtype=torch.float64)

    @property
    def initial(self) -> float:
        """The sum at the initial scales."""
        return float(self._coefficients.sum())

    def parts(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """Its terms at ``alphas``, float64 ``(T,)``, differentiable in them.

        Args:
            alphas: ``{instance: tensor (alpha_h, alpha_w)}``, all on one device.
        """
        stacked = torch.cat([alphas[name] for name in self.initial_scales]).double()
        device = stacked.device
        log_ratio = -stacked.log() - self._log_initial.to(device, non_blocking=True)
        factors = (self._exponents.to(device, non_blocking=True) @ log_ratio).exp()
        return self._coefficients.to(device, non_blocking=True) * factors
