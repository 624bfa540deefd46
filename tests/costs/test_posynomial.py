"""Sums of products of powers of the scales, beside their definition."""

import random

import pytest
import torch

from mmseg_dynopool.costs import Posynomial

INITIAL = {'a': (0.5, 0.4), 'b': (0.7, 0.25)}
DRAW = random.Random(0)
TERMS = {tuple(DRAW.choice((0.0, 0.0, 0.58, 1.0, 2.0)) for _ in range(4)): DRAW.uniform(0.1, 9)
         for _ in range(6)} | {(0.0, ) * 4: 2.5}


@pytest.fixture
def terms():
    return Posynomial(INITIAL, TERMS)


def alphas_at(log_scales):
    return {name: (-log_scales[2 * i:2 * i + 2]).exp() for i, name in enumerate(INITIAL)}


def by_definition(scales):
    """A float, of the scales ``[a_h, a_w, b_h, b_w]``."""
    initial = [scale for pair in INITIAL.values() for scale in pair]
    parts = []
    for exponents, coefficient in TERMS.items():
        for r, start, e in zip(scales, initial, exponents):
            coefficient *= (r / start)**e
        parts.append(coefficient)
    return parts


def test_it_is_its_definition(terms):
    assert len(terms.coefficients) == 7
    assert terms.initial == pytest.approx(sum(by_definition([0.5, 0.4, 0.7, 0.25])))
    for _ in range(20):
        scales = [DRAW.uniform(0.1, 1.5) for _ in range(4)]
        parts = terms.parts(alphas_at(torch.tensor(scales, dtype=torch.float64).log()))
        assert parts.tolist() == pytest.approx(by_definition(scales))


def test_its_logarithm_is_convex_in_the_logarithms_of_the_scales(terms):
    def log_cost(log_scales):
        return terms.parts(alphas_at(log_scales)).sum().log().item()

    generator, gaps = torch.Generator().manual_seed(0), []
    for _ in range(300):
        p, q = torch.empty(2, 4, dtype=torch.float64).uniform_(-3, 1, generator=generator)
        t = torch.rand((), dtype=torch.float64, generator=generator).item()
        gaps.append(t * log_cost(p) + (1 - t) * log_cost(q) - log_cost(t * p + (1 - t) * q))
    assert min(gaps) > -1e-12
    assert sorted(gaps)[150] > 0.01  # and no straight line


def test_slope_of_its_logarithm_is_the_mean_exponent(terms):
    """Weighted by the terms' shares."""
    log_scales = torch.tensor([-0.4, -1.2, 0.1, -2.0], dtype=torch.float64, requires_grad=True)
    terms.parts(alphas_at(log_scales)).sum().log().backward()
    parts = by_definition(log_scales.exp().tolist())
    assert log_scales.grad.tolist() == pytest.approx([
        sum(part * key[i] for part, key in zip(parts, TERMS)) / sum(parts) for i in range(4)])
