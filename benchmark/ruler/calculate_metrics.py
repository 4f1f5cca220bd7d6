"""RULER's scores: how many reference strings the predictions contain.

Source: the evaluation of NVIDIA's RULER, ``string_match_all`` and ``string_match_part``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmark.metrics.frames import (
    as_array,
    percent,
    prediction_of,
    references_of,
    rows_of,
    scores_by,
)
from benchmark.ruler.tasks import TASKS

_CONTROL = re.compile(r"[\x00-\x1f]")


def clean_prediction(prediction: str) -> str:
    """Return the prediction stripped, control characters as newlines."""
    return _CONTROL.sub("\n", prediction.strip()).strip()


def score(prediction: str, references: Sequence[str], *, part: bool) -> float:
    """Share of references in the prediction, or with ``part`` whether any is in it.

    In [0, 1]; a reference counts where it is a substring, upper and lower case alike.
    """
    text = clean_prediction(prediction).lower()
    found = [reference.lower() in text for reference in references]
    return float(any(found)) if part else sum(found) / len(found)


def sample_scores(frame: pd.DataFrame) -> np.ndarray:
    """Score of each row, float64 of shape (rows,), from the columns of ``calculate_metrics``."""
    rows = rows_of(frame, "RULER", ("task", "answer", "predicted_answer"))
    return as_array(
        score(prediction_of(row), references_of(row, "RULER"), part=_part(row["task"]))
        for row in rows
    )


def _part(task: str) -> bool:
    # Prepared datasets may hold tasks that are not RULER's own; their names follow its scheme.
    return TASKS[task].metric == "part" if task in TASKS else task.startswith("qa")


def calculate_metrics(frame: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Scores by task and their mean under ``average``, in percent with two decimals.

    ``frame`` has the columns ``task``, ``answer`` (list, array or string) and
    ``predicted_answer``; a prediction that is missing counts as empty.  The average is the plain
    mean of the tasks' rounded scores.  No rows give no scores.
    """
    if frame.empty:
        return {}
    groups = scores_by(frame.to_dict("records"), sample_scores(frame), lambda row: row["task"])
    scores = {task: percent(values, 2) for task, values in groups.items()}
    ordered = [task for task in TASKS if task in scores]
    ordered += sorted(scores.keys() - TASKS.keys())
    average = round(sum(scores[task] for task in ordered) / len(scores), 2)
    result = {task: {"string_match": scores[task]} for task in ordered}
    return {**result, "average": {"string_match": average}}


def averages_over_lengths(averages: Mapping[int, float]) -> dict[str, float]:
    """Means of the averages at several lengths: plain, and with the weights 1, 2, ... to the longer
    (``increasing``) or to the shorter ones (``decreasing``); one decimal.

    Source: the table in the README of NVIDIA's RULER, wAvg (inc) and wAvg (dec).
    """
    values = [averages[length] for length in sorted(averages)]
    weights = range(1, len(values) + 1)

    def weighted(ordered: Sequence[float]) -> float:
        return round(sum(w * v for w, v in zip(weights, ordered, strict=True)) / sum(weights), 1)

    return {
        "mean": round(sum(values) / len(values), 1),
        "increasing": weighted(values),
        "decreasing": weighted(values[::-1]),
    }
