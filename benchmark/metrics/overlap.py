"""Overlap of the tokens of two texts: F1 as in SQuAD, for English and Chinese; means."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

from benchmark.metrics.normalize import chinese_words, normalize_chinese, normalize_english


def harmonic_mean(a: float, b: float) -> float:
    """``2ab / (a + b)`` of two numbers that are not negative; 0 if both are 0."""
    return 2 * a * b / (a + b) if a + b else 0.0


def geometric_mean(values: Sequence[float]) -> float:
    """Product of numbers that are not negative to the power of one over their count.

    Raises ``ValueError`` for no numbers.
    """
    if not values:
        raise ValueError("the geometric mean of no numbers is not defined")
    return math.prod(values) ** (1 / len(values))


def token_f1(prediction: Iterable[Hashable], reference: Iterable[Hashable]) -> float:
    """F1 of two multisets of tokens.

    With m tokens in common: precision m / |prediction|, recall m / |reference|, and their harmonic
    mean.  0 where nothing is in common, so for two empty texts too.
    """
    ours, theirs = Counter(prediction), Counter(reference)
    common = (ours & theirs).total()
    return harmonic_mean(common / ours.total(), common / theirs.total()) if common else 0.0


def english_f1(prediction: str, reference: str) -> float:
    """F1 of the words of the normalised texts."""
    return token_f1(normalize_english(prediction).split(), normalize_english(reference).split())


def chinese_character_f1(prediction: str, reference: str) -> float:
    """F1 of the characters of the normalised texts, as InfiniteBench counts."""
    return token_f1(normalize_chinese(prediction), normalize_chinese(reference))


def chinese_word_f1(prediction: str, reference: str) -> float:
    """F1 of the words of the raw texts, each normalised after segmentation, as LongBench counts.

    Raises ``UserError`` where jieba is not installed.
    """
    ours, theirs = (
        [word for raw in chinese_words(text) if (word := normalize_chinese(raw))]
        for text in (prediction, reference)
    )
    return token_f1(ours, theirs)


def best_of(
    metric: Callable[[str, str], float], prediction: str, references: Iterable[str]
) -> float:
    """Highest score of a prediction over its references; 0 without any."""
    return max((metric(prediction, reference) for reference in references), default=0.0)
