from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.results.statistics import (
    bonett_price,
    mean_interval,
    mean_of_estimates,
    paired_difference,
    standard_error,
    wilson,
)

scores = st.floats(0, 1, allow_nan=False)
clustered = st.lists(st.tuples(scores, st.sampled_from("abcdef")), min_size=1, max_size=30)


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@given(st.lists(scores, min_size=2, max_size=30))
def test_the_standard_error_of_single_samples_is_the_usual_one(values: list[float]) -> None:
    usual = np.std(values, ddof=1) / len(values) ** 0.5
    assert standard_error(values, names(len(values))) == pytest.approx(usual, abs=1e-12)


@given(st.lists(scores, min_size=2, max_size=9), st.integers(2, 4))
def test_samples_that_share_a_context_tell_no_more_than_one(values: list[float], by: int) -> None:
    contexts = names(len(values))
    assert standard_error(values * by, contexts * by) == pytest.approx(
        standard_error(values, contexts), abs=1e-12
    )
    assert standard_error(values, ["one"] * len(values)) is None


def test_wilson_is_that_of_the_literature() -> None:
    # Newcombe 1998 (Stat. Med. 17), table I: 81/263, 15/148, 0/20, 1/29, without correction.
    for wins, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(wins / n, n) == pytest.approx((low, high), abs=5e-5)


def test_bonett_price_by_hand() -> None:
    # n12 = 1, n21 = 0, n = 8: p12 = 0.2, p21 = 0.1, z sqrt((0.3 - 0.01) / 10) = 0.33377.
    assert bonett_price(1, 0, 8) == pytest.approx((0.1 - 0.333765, 0.1 + 0.333765), abs=1e-5)


@given(clustered)
def test_interval_contains_the_mean_and_has_width(samples: list[tuple[float, str]]) -> None:
    values, contexts = zip(*samples, strict=True)
    estimate = mean_interval(values, contexts)
    assert estimate is not None
    assert estimate.mean == pytest.approx(np.mean(values))
    assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1
    assert estimate.high - estimate.low > 0
    assert estimate.contexts == len(set(contexts))
    assert estimate == mean_interval(values, contexts)


@given(clustered, st.randoms(use_true_random=False))
def test_difference_contains_its_mean(samples: list[tuple[float, str]], rng) -> None:
    values, contexts = zip(*samples, strict=True)
    reference = [rng.random() for _ in values]
    estimate = paired_difference(values, reference, contexts)
    assert estimate is not None
    assert -1 <= estimate.low < estimate.high <= 1
    assert estimate.mean == pytest.approx(np.mean(values) - np.mean(reference))
    if estimate.method == "bootstrap":
        assert estimate.low <= estimate.mean <= estimate.high


def test_identical_scores_leave_doubt() -> None:
    for value, contexts in ((1.0, names(10)), (0.0, names(10)), (1.0, ["a", "a", "b", "b"])):
        estimate = mean_interval([value] * len(contexts), contexts)
        assert estimate is not None
        assert estimate.high - estimate.low > 0.2
    same = paired_difference([1.0] * 10, [1.0] * 10, names(10))
    assert same is not None
    assert same.low < -0.05
    assert same.high > 0.05


def test_contexts_with_the_same_mean_leave_doubt() -> None:
    # Within each context one of two answers is right: the bootstrap alone would see no variance.
    estimate = mean_interval([0, 1] * 3, ["a", "a", "b", "b", "c", "c"])
    assert estimate is not None
    assert estimate.high - estimate.low > 0.3


def test_intervals_of_few_contexts_agree() -> None:
    """A score that is next to another has an interval next to its, binary or not."""
    for right in (1.0, 0.999):
        estimate = mean_interval([right] * 7 + [0.0, 0.0], names(9))
        assert estimate is not None
        assert estimate.method == "wilson"
        assert (estimate.low, estimate.high) == pytest.approx((0.4526, 0.9368), abs=2e-3)
        difference = paired_difference([right] * 7 + [0.0, 0.0], [0.0] * 9, names(9))
        assert difference is not None
        assert difference.method == "bonett-price"
        assert (difference.low, difference.high) == pytest.approx((0.2565, 1.0), abs=2e-3)
    for few in range(1, 13):
        estimate = mean_interval(np.linspace(0.2, 0.8, few).tolist(), names(few))
        assert estimate is not None
        assert (estimate.method == "bootstrap") == (few >= 10)


def test_dependent_samples_widen_the_interval() -> None:
    values = [0.0] * 50 + [1.0] * 50
    independent = mean_interval(values, names(100))
    dependent = mean_interval(values, [str(number // 10) for number in range(100)])
    assert independent is not None
    assert dependent is not None
    assert dependent.high - dependent.low > 2 * (independent.high - independent.low)


def test_no_samples_and_no_numbers() -> None:
    assert mean_interval([], []) is None
    assert paired_difference([], [], []) is None
    for bad in (float("nan"), -0.1, 1.1, float("inf")):
        with pytest.raises(ValueError, match="finite"):
            mean_interval([0.5, bad], ["a", "b"])


@pytest.mark.parametrize(("questions", "rate"), [(1, 0.9), (3, 0.6)])
def test_coverage(questions: int, rate: float) -> None:
    """95% intervals hold the truth in about 95% of simulated data sets with dependent samples."""
    rng = np.random.default_rng(1)
    contexts = np.repeat(names(20), questions)
    hits = 0
    for _ in range(150):
        own = np.clip(rng.normal(rate, 0.1, size=20), 0, 1) if questions > 1 else np.full(20, rate)
        values = (rng.random(20 * questions) < np.repeat(own, questions)).astype(float)
        estimate = mean_interval(values.tolist(), contexts.tolist())
        assert estimate is not None
        hits += estimate.low <= rate <= estimate.high
    assert hits / 150 > 0.89


@settings(max_examples=30)
@given(st.lists(scores, min_size=1, max_size=6))
def test_mean_of_estimates_is_narrower_than_its_parts(means: list[float]) -> None:
    parts = [(mean, mean - 0.1, mean + 0.2) for mean in means]
    mean, low, high = mean_of_estimates(parts)
    count = len(means)
    assert mean == pytest.approx(np.mean(means))
    assert mean - low == pytest.approx(0.1 / np.sqrt(count))
    assert high - mean == pytest.approx(0.2 / np.sqrt(count))
