"""ZeroSCROLLS' scores.

Source: the metric scripts beside the dataset ``tau/zero_scrolls`` and the paper (arXiv:2305.14196).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from benchmark.metrics.frames import as_array, percent, prediction_of, references_of, task_rows
from benchmark.metrics.libraries import optional_library
from benchmark.metrics.normalize import normalize_english
from benchmark.metrics.overlap import best_of, geometric_mean, token_f1
from benchmark.metrics.rouge_google import rouge_l, rouge_n
from benchmark.zero_scrolls.answers import choice, concordance, exponential_similarity
from benchmark.zero_scrolls.tasks import TASKS
from sparse_attention.errors import UserError

_DIGITS = 4


def sample_scores(frame: pd.DataFrame) -> np.ndarray:
    """Score of each row in [0, 1], float64 of shape (rows,); NaN where it has no reference.

    For summaries the geometric mean of the row's ROUGE-1, 2 and L.  Its mean over rows is not the
    task's score, which is the geometric mean of the three means.
    """
    return as_array(
        geometric_mean(_parts(row)) if _has_reference(row) else math.nan
        for row in task_rows(frame, "ZeroSCROLLS", TASKS)
    )


def calculate_metrics(frame: pd.DataFrame) -> dict[str, Any]:
    """Percent by task with four decimals: ``{task: {metric: score, "samples": n}}``.

    ``frame`` has the columns ``task``, ``answer`` (list of references) and ``predicted_answer``.
    Where all ten tasks are there, ``average`` is the mean of their scores, which is ZeroSCROLLS'
    score.  A task without references, as of the test split, has the number of its samples alone.
    Raises ``UserError`` for an unknown task and a missing column.
    """
    rows = task_rows(frame, "ZeroSCROLLS", TASKS)
    result: dict[str, Any] = {}
    for name, task in TASKS.items():
        mine = [row for row in rows if row["task"] == name]
        if not mine:
            continue
        result[name] = {"samples": len(mine)}
        if all(map(_has_reference, mine)):
            result[name] = {task.metric: _task_score([_parts(row) for row in mine]), **result[name]}
    scores = [found[TASKS[name].metric] for name, found in result.items() if len(found) > 1]
    if len(scores) == len(TASKS):
        result["average"] = {"zero_scrolls": round(math.fsum(scores) / len(scores), _DIGITS)}
    return result


def _task_score(parts: list[tuple[float, ...]]) -> float:
    means = [math.fsum(column) / len(column) for column in zip(*parts, strict=True)]
    return percent([geometric_mean(means)], _DIGITS)


def _parts(row: Mapping[str, Any]) -> tuple[float, ...]:
    """The numbers whose means the task's score is made of, each the best over the references."""
    prediction, references = prediction_of(row), references_of(row, "ZeroSCROLLS")
    match TASKS[row["task"]].metric:
        case "rouge":
            return (
                best_of(lambda p, r: rouge_n(p, r, 1).f, prediction, references),
                best_of(lambda p, r: rouge_n(p, r, 2).f, prediction, references),
                best_of(lambda p, r: rouge_l(p, r).f, prediction, references),
            )
        case "f1":
            return (best_of(f1, prediction, references),)
        case "accuracy":
            return (best_of(_accuracy, prediction, references),)
        case "exponential_similarity":
            return (best_of(exponential_similarity, prediction, references),)
        case "concordance":
            return (best_of(concordance, prediction, references),)


def f1(prediction: str, reference: str) -> float:
    """F1 of the words of the normalised texts in ASCII letters."""
    return token_f1(_words(prediction), _words(reference))


def _words(text: str) -> list[str]:
    # Lone surrogates have no transliteration; the library warns of them and leaves them out.
    whole = normalize_english(text).encode("utf-8", "ignore").decode()
    return _unidecode().unidecode(whole).split()


def _accuracy(prediction: str, reference: str) -> float:
    gold = choice(reference)
    if gold is None:
        raise UserError(f"the reference {reference!r} of quality names none of A, B, C, D.")
    return float(choice(prediction) == gold)


@cache
def _unidecode() -> Any:
    return optional_library("unidecode", "the F1 of ZeroSCROLLS", "zero_scrolls")


def _has_reference(row: Mapping[str, Any]) -> bool:
    return len(row["answer"]) > 0
