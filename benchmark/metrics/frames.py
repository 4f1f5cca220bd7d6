"""What the metrics of all benchmarks do with a frame of predictions before they score it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sparse_attention.errors import UserError, unknown_name


def rows_of(frame: pd.DataFrame, benchmark: str, columns: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of a frame that has ``columns``; ``UserError`` names those that it lacks.

    A frame without rows needs no columns.
    """
    missing = [name for name in columns if name not in frame]
    if missing and len(frame):
        raise UserError(
            f"the metric of {benchmark} needs the columns {', '.join(missing)}; the frame has "
            f"{', '.join(map(str, frame.columns)) or 'none'}."
        )
    return frame.to_dict("records")


def task_rows(frame: pd.DataFrame, benchmark: str, tasks: Collection[str]) -> list[dict[str, Any]]:
    """Rows of a frame with the usual three columns; ``UserError`` for one of an unknown task."""
    rows = rows_of(frame, benchmark, ("task", "answer", "predicted_answer"))
    for row in rows:
        if row["task"] not in tasks:
            raise unknown_name(f"task of {benchmark}", row["task"], tasks)
    return rows


def prediction_of(row: Mapping[str, Any]) -> str:
    """The prediction of a row; empty where it is missing or no text."""
    prediction = row["predicted_answer"]
    return prediction if isinstance(prediction, str) else ""


def references_of(row: Mapping[str, Any], benchmark: str) -> list[str]:
    """Reference answers of a row: a list, an array, a text or a number; ``UserError`` for none."""
    answer = row["answer"]
    if isinstance(answer, str):
        return [answer]
    if isinstance(answer, int | float | np.number) and answer == answer:  # not NaN
        return [str(answer)]
    found = [str(one) for one in answer] if isinstance(answer, Iterable) else []
    if not found:
        raise UserError(
            f"a sample of {benchmark} (task {row.get('task')!r}) has no reference answer."
        )
    return found


def scores_by(
    rows: Sequence[Mapping[str, Any]], scores: Iterable[float], key: Callable[[Mapping], str]
) -> dict[str, list[float]]:
    """Scores grouped by ``key`` of their rows, in the order of appearance."""
    groups: dict[str, list[float]] = {}
    for row, score in zip(rows, scores, strict=True):
        groups.setdefault(key(row), []).append(score)
    return groups


def percent(scores: Sequence[float], digits: int) -> float:
    """Mean of scores in [0, 1], times 100, rounded; the same in any order of the scores."""
    return round(100 * math.fsum(scores) / len(scores), digits)


def mean(scores: Sequence[float]) -> float:
    """Mean of one score at least; the same in any order of the scores."""
    return math.fsum(scores) / len(scores)


def as_array(scores: Iterable[float]) -> np.ndarray:
    """Scores as float64 of shape (rows,)."""
    return np.fromiter(scores, dtype=np.float64)
