"""Scores of answers to questions of one's own, by the name of a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmark.metrics import rouge_google
from benchmark.metrics.edit_similarity import edit_similarity
from benchmark.metrics.frames import (
    as_array,
    mean,
    percent,
    prediction_of,
    references_of,
    rows_of,
    scores_by,
)
from benchmark.metrics.normalize import normalize_english
from benchmark.metrics.overlap import best_of, english_f1

Metric = Literal["contains", "contains_all", "exact_match", "f1", "rouge_l", "edit_similarity"]
"""``contains``: whether any reference stands in the answer, ``contains_all``: the share of
references that do, both whatever the case; ``exact_match``: whether answer and a reference have the
same words, without articles and punctuation; ``f1``: of their words so; ``rouge_l``: F1 of the
longest common subsequence of words; ``edit_similarity``: of the characters.  The best reference
counts."""


def _contained(prediction: str, reference: str) -> float:
    return float(reference.strip().lower() in prediction.lower())


def _equal(prediction: str, reference: str) -> float:
    return float(normalize_english(prediction) == normalize_english(reference))


def _rouge_l(prediction: str, reference: str) -> float:
    return rouge_google.rouge_l(prediction, reference).f


_BEST: Mapping[str, Callable[[str, str], float]] = {
    "contains": _contained,
    "exact_match": _equal,
    "f1": english_f1,
    "rouge_l": _rouge_l,
    "edit_similarity": edit_similarity,
}


def score(metric: Metric, prediction: str, references: Sequence[str]) -> float:
    """Score in [0, 1] of an answer that has one reference at least."""
    if metric == "contains_all":
        return mean([_contained(prediction, reference) for reference in references])
    return best_of(_BEST[metric], prediction, references)


def sample_scores(frame: pd.DataFrame, metric: Metric) -> np.ndarray:
    """Score of each row, float64 of shape (rows,)."""
    rows = rows_of(frame, "custom", ("answer", "predicted_answer"))
    return as_array(score(metric, prediction_of(row), references_of(row, "custom")) for row in rows)


def calculate_metrics(frame: pd.DataFrame, metric: Metric) -> dict[str, Any]:
    """Mean score in percent with two decimals: of all rows, and by group where there are any."""
    if frame.empty:
        return {}
    scores = list(sample_scores(frame, metric))
    result: dict[str, Any] = {metric: percent(scores, 2)}
    if "group" in frame:
        by_group = scores_by(frame.to_dict("records"), scores, lambda row: str(row["group"]))
        result["groups"] = {name: percent(by_group[name], 2) for name in sorted(by_group)}
    return result
