"""Welch's interval by its formulas, for pages that have it from SciPy."""

import statistics

from scipy.stats import t


def welch(first, second):
    """Difference of means, and half of its 95 % confidence interval."""
    errors = [statistics.variance(values) / len(values) for values in (first, second)]
    freedom = sum(errors)**2 / sum(e**2 / (len(v) - 1) for e, v in zip(errors, (first, second)))
    return (statistics.fmean(first) - statistics.fmean(second),
            float(t.ppf(0.975, freedom)) * sum(errors)**0.5)
