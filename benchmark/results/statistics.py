"""Confidence intervals of mean scores and of paired differences.

Scores lie in [0, 1].  Samples that share a context depend on each other (one distractor misleads
all questions about it), so the contexts, not the samples, are the independent units: the bootstrap
draws whole contexts, and where a formula needs a count, it is the count of contexts.  Every
interval has the level ``LEVEL``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LEVEL = 0.95
"""Of all intervals."""
FEWEST = 10
"""Contexts below which there is no bootstrap.  Of few values it knows too little: its intervals are
too narrow, and narrower the more alike the values happen to be."""
RESAMPLES = 4000
"""Of a bootstrap: its limits are then off by about 1% of the interval's width."""
_Z = 1.959963984540054  # standard normal quantile of (1 + LEVEL) / 2
_SEED = 20240607
"""Of the bootstrap, fixed so that the same scores always have the same interval."""

IntervalMethod = Literal["wilson", "bootstrap", "bonett-price"]


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval."""

    mean: float
    low: float
    high: float
    method: IntervalMethod
    samples: int
    contexts: int


def mean_interval(scores: Sequence[float], contexts: Sequence[str]) -> Estimate | None:
    """Mean of ``scores`` with its interval; None without samples.

    ``contexts`` names each sample's context.  Wilson's score interval (Wilson 1927, JASA 22) where
    every context has one sample and scores are 0 or 1; else the percentile bootstrap over contexts
    (Field & Welsh 2007, JRSS B 69), expanded for few contexts (Hesterberg 2015, Am. Stat. 69: the
    quantiles are taken at Phi(-+ sqrt(n / (n - 1)) t) with Student's t of n - 1 degrees).  For
    fewer than ``FEWEST`` contexts, and where all have the same mean, of which a bootstrap interval
    has no width, Wilson's with the number of contexts is taken: for scores in [0, 1] the variance
    is at most that of a binary one, so it is conservative.

    Raises ``ValueError`` for scores outside [0, 1] or not finite.
    """
    values = _checked(scores, 0.0, 1.0)
    if not len(values):
        return None
    sums, counts = _per_context(values, contexts)
    mean = float(values.mean())
    single = len(counts) == len(values)
    if _is_little(sums / counts) or (single and _binary(values)):
        low, high = wilson(mean, len(counts))
        return Estimate(mean, low, high, "wilson", len(values), len(counts))
    low, high = _bootstrap(sums, counts)
    return Estimate(mean, low, high, "bootstrap", len(values), len(counts))


def paired_difference(
    scores: Sequence[float], reference: Sequence[float], contexts: Sequence[str]
) -> Estimate | None:
    """Mean of ``scores - reference`` on the same samples, with its interval; None without samples.

    Bonett & Price's adjusted Wald interval (2012, J. Educ. Behav. Stat. 37) for binary scores with
    one sample per context, with n12 and n21 the samples that only one of both answered:
    p12 = (n12 + 1) / (n + 2), p21 = (n21 + 1) / (n + 2),
    p12 - p21 -+ z sqrt((p12 + p21 - (p12 - p21)^2) / (n + 2)).
    Else the bootstrap over contexts of the differences.  The same formula over contexts serves
    for fewer than ``FEWEST`` of them and where all differ by the same: with d_c the sum of the
    differences in context c, n12 = n sum(max(d_c, 0)) / samples, n21 = n sum(max(-d_c, 0)) /
    samples, which is the count of samples above where they are binary.
    """
    first, second = _checked(scores, 0.0, 1.0), _checked(reference, 0.0, 1.0)
    differences = first - second
    if not len(differences):
        return None
    sums, counts = _per_context(differences, contexts)
    mean = float(differences.mean())
    single = len(counts) == len(differences)
    if _is_little(sums / counts) or (single and _binary(first, second)):
        n = len(counts)
        wins, losses = (n * float(np.maximum(d, 0).sum()) / counts.sum() for d in (sums, -sums))
        low, high = bonett_price(wins, losses, n)
        return Estimate(mean, low, high, "bonett-price", len(differences), n)
    low, high = _bootstrap(sums, counts)
    return Estimate(mean, low, high, "bootstrap", len(differences), len(counts))


def standard_error(values: Sequence[float], contexts: Sequence[str]) -> float | None:
    """Standard error of the mean of values, contexts being independent; None for one context.

    With s_c the sum of the m_c values of context c, n contexts and mean y:
    sqrt(n / (n - 1) sum((s_c - y m_c)^2)) / sum(m_c) (Cochran 1977, Sampling Techniques, 6.4).
    """
    sums, counts = _per_context(np.asarray(values, dtype=np.float64), contexts)
    n, total = len(counts), counts.sum()
    if n < 2:
        return None
    residuals = sums - counts * (sums.sum() / total)
    return float(math.sqrt(n / (n - 1) * np.square(residuals).sum()) / total)


def wilson(mean: float, n: int) -> tuple[float, float]:
    """Wilson's score interval for ``n`` independent samples; always contains ``mean``."""
    centre = (mean + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(mean * (1 - mean) / n + _Z**2 / (4 * n * n))
    # Rounding may leave an end of 0 or 1 off by one unit in the last place.
    return min(max(centre - half, 0.0), mean), max(min(centre + half, 1.0), mean)


def bonett_price(wins: float, losses: float, n: int) -> tuple[float, float]:
    """Bonett and Price's interval for the difference of two paired proportions."""
    p12, p21 = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    half = _Z * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    return max(p12 - p21 - half, -1.0), min(p12 - p21 + half, 1.0)


def mean_of_estimates(
    estimates: Sequence[tuple[float, float, float]],
) -> tuple[float, float, float]:
    """Mean of independent (mean, low, high), with the interval recovered from theirs.

    MOVER (Zou & Donner 2008, Stat. Med. 27): with means m_i and limits l_i, u_i, the limits are
    mean - sqrt(sum (m_i - l_i)^2) / k and mean + sqrt(sum (u_i - m_i)^2) / k.
    """
    values = np.asarray(estimates, dtype=np.float64)
    mean = values[:, 0].mean()
    low = mean - np.sqrt(np.square(values[:, 0] - values[:, 1]).sum()) / len(values)
    high = mean + np.sqrt(np.square(values[:, 2] - values[:, 0]).sum()) / len(values)
    return float(mean), float(low), float(high)


def _checked(values: Sequence[float], low: float, high: float) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(array).all() and (array >= low).all() and (array <= high).all()):
        raise ValueError(f"scores must be finite and within [{low}, {high}].")
    return array


def _binary(*arrays: np.ndarray) -> bool:
    return all(bool(np.isin(array, (0.0, 1.0)).all()) for array in arrays)


def _is_little(means: np.ndarray) -> bool:
    """Whether the means of contexts are too few, or too much alike, for a bootstrap."""
    return len(means) < FEWEST or bool(np.ptp(means) < 1e-12)


def _per_context(values: np.ndarray, contexts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the values of each context, contexts in their order of appearance."""
    position: dict[str, int] = {}
    index = np.array([position.setdefault(context, len(position)) for context in contexts])
    return np.bincount(index, weights=values), np.bincount(index).astype(np.float64)


def _bootstrap(sums: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    generator = np.random.default_rng(_SEED)
    contexts = len(sums)
    means = np.empty(RESAMPLES)
    block = max(1, 2_000_000 // contexts)  # bounds the memory for many contexts
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        weights = generator.multinomial(contexts, np.full(contexts, 1 / contexts), size=size)
        means[start : start + size] = (weights @ sums) / (weights @ counts)
    from scipy import stats  # half a second, and only needed here

    quantile = stats.t.ppf((1 + LEVEL) / 2, contexts - 1) * math.sqrt(contexts / (contexts - 1))
    tail = stats.norm.sf(quantile)
    low, high = np.quantile(means, (tail, 1 - tail))
    mean = sums.sum() / counts.sum()
    return float(min(low, mean)), float(max(high, mean))
