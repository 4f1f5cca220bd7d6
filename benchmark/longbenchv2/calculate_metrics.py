"""LongBench-v2's accuracy, overall and by difficulty and length.

Source: ``pred.py`` and ``result.py`` of THUDM/LongBench.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

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

Compat = Literal["upstream", "kvpress"]
"""``kvpress`` counts a prediction as right that says the right sentence anywhere, whatever it says
before."""

GROUPS = ("overall", "easy", "hard", "short", "medium", "long")
_GUESS = 0.25

_IN_PARENTHESES = re.compile(r"The correct answer is \(([A-D])\)")
_BARE = re.compile(r"The correct answer is ([A-D])")


def extract_answer(prediction: str) -> str | None:
    """The letter that a prediction chooses, None if it says none in the form that was asked for.

    Asterisks are ignored; the form with parentheses wins wherever it stands.
    """
    text = prediction.replace("*", "")
    found = _IN_PARENTHESES.search(text) or _BARE.search(text)
    return found[1] if found else None


def sample_scores(
    frame: pd.DataFrame, compat: Compat = "upstream", compensated: bool = False
) -> np.ndarray:
    """Whether each row's answer is right, float64 of shape (rows,); with ``compensated`` 0.25
    where there is no answer, as a guess would get.
    """
    rows = rows_of(frame, "LongBench-v2", ("answer", "predicted_answer"))
    return as_array(_score(row, compat, compensated) for row in rows)


def calculate_metrics(
    frame: pd.DataFrame, compat: Compat = "upstream", compensated: bool = False
) -> dict[str, dict[str, float | None]]:
    """Percent with one decimal, by task and group: ``{task: {group: accuracy}}``.

    ``frame`` has the columns ``task``, ``answer`` (the letter, or a list of it),
    ``predicted_answer``, ``difficulty`` and ``length``.  As upstream, what is not ``easy`` counts
    as hard, what is neither ``short`` nor ``medium`` as long.  None for a group without samples.
    """
    columns = ("task", "answer", "predicted_answer", "difficulty", "length")
    rows = rows_of(frame, "LongBench-v2", columns)
    scores = [_score(row, compat, compensated) for row in rows]
    result: dict[str, dict[str, float | None]] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        chosen = [(row, s) for row, s in zip(rows, scores, strict=True) if row["task"] == task]
        mine, theirs = [row for row, _ in chosen], [score for _, score in chosen]
        groups = {
            "overall": theirs,
            **scores_by(mine, theirs, _difficulty),
            **scores_by(mine, theirs, _length),
        }
        result[task] = {
            name: percent(groups[name], 1) if name in groups else None for name in GROUPS
        }
    return dict(sorted(result.items()))


def _score(row: Mapping[str, Any], compat: Compat, compensated: bool) -> float:
    prediction, gold = prediction_of(row), references_of(row, "LongBench-v2")[0]
    if compat == "kvpress":
        sentences = (f"The correct answer is {gold}", f"The correct answer is ({gold})")
        return float(any(sentence in prediction for sentence in sentences))
    chosen = extract_answer(prediction)
    if chosen is None and compensated:
        return _GUESS
    return float(chosen == gold)


def _difficulty(row: Mapping[str, Any]) -> str:
    return "easy" if row["difficulty"] == "easy" else "hard"


def _length(row: Mapping[str, Any]) -> str:
    return row["length"] if row["length"] in ("short", "medium") else "long"
