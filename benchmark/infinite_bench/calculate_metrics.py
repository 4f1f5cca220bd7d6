"""InfiniteBench's scores by task.

Source: ``src/compute_scores.py`` of OpenBMB/InfiniteBench; the rules are in ``rules.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmark.infinite_bench.rules import KVPRESS, NUMERIC, SCORES, is_number, math_calc
from benchmark.metrics.frames import (
    as_array,
    mean,
    prediction_of,
    references_of,
    scores_by,
    task_rows,
)
from sparse_attention.errors import UserError

Compat = Literal["upstream", "kvpress"]
"""``kvpress``: its more lenient rules for code_debug, longbook_choice_eng, longdialogue_qa_eng."""


def sample_scores(
    frame: pd.DataFrame, compat: Compat = "upstream", skip_first: bool = False
) -> np.ndarray:
    """Score of each row in [0, 1], float64 of shape (rows,), from the columns of
    ``calculate_metrics``.
    """
    return as_array(_scores(task_rows(frame, "InfiniteBench", SCORES), compat, skip_first))


def calculate_metrics(
    frame: pd.DataFrame, compat: Compat = "upstream", skip_first: bool = False
) -> dict[str, dict[str, float]]:
    """Mean score by task, ``{task: {metric: mean}}``, in [0, 1] without rounding as upstream.

    ``frame`` has the columns ``task``, ``answer`` (the label: a list of texts or numbers; for the
    tasks with options the text and the letter) and ``predicted_answer``.  ``skip_first`` is for
    math_calc.  Raises ``UserError`` for an unknown task, a missing column and a row without label.
    """
    rows = task_rows(frame, "InfiniteBench", SCORES)
    groups = scores_by(rows, _scores(rows, compat, skip_first), lambda row: row["task"])
    return {task: {SCORES[task][0]: mean(groups[task])} for task in SCORES if task in groups}


def _scores(rows: Iterable[Mapping[str, Any]], compat: Compat, skip_first: bool) -> Iterable[float]:
    for row in rows:
        task, prediction, label = row["task"], prediction_of(row), _label(row)
        if task == "math_calc":
            yield math_calc(prediction, label, skip_first=skip_first)
        elif compat == "kvpress" and task in KVPRESS:
            yield KVPRESS[task](prediction, label)
        else:
            yield SCORES[task][1](prediction, label)


def _label(row: Mapping[str, Any]) -> list[str]:
    label = references_of(row, "InfiniteBench")
    if row["task"] == "math_calc" and label[0].startswith("["):  # a list in the list
        label = label[0].strip("[]").replace(",", " ").split()
    if row["task"] in NUMERIC:
        for value in label:
            if not is_number(value):
                raise UserError(f"the label {value!r} of {row['task']} is not a number.")
    return label
