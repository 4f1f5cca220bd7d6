"""RULER's scores: how many reference strings the predictions contain.

Source: the evaluation of NVIDIA's RULER, ``string_match_all`` and ``string_match_part``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from benchmark.ruler.tasks import TASKS
from sparse_attention.errors import UserError

_CONTROL = re.compile(r"[\x00-\x1f]")


def clean_prediction(prediction: object) -> str:
    """Return the prediction stripped, control characters as newlines; empty for a missing one."""
    if not isinstance(prediction, str):
        return ""
    return _CONTROL.sub("\n", prediction.strip()).strip()


def references(answer: Any) -> list[str]:
    """Return reference strings of a list, an array or a single string; ``UserError`` for none."""
    if isinstance(answer, str):
        found = [answer]
    elif isinstance(answer, Iterable):
        found = [str(reference) for reference in answer]
    else:
        found = []
    if not found:
        raise UserError("a RULER sample needs at least one reference answer, found none.")
    return found


def score(prediction: object, answer: Any, *, part: bool) -> float:
    """Share of references in the prediction, or with ``part`` whether any is in it.

    In [0, 1]; a reference counts where it is a substring, upper and lower case alike.
    """
    text = clean_prediction(prediction).lower()
    found = [reference.lower() in text for reference in references(answer)]
    return float(any(found)) if part else sum(found) / len(found)


def sample_scores(frame: pd.DataFrame) -> np.ndarray:
    """Score of each row, float64 of shape (rows,), from the columns of ``calculate_metrics``."""
    missing = [name for name in ("task", "answer", "predicted_answer") if name not in frame]
    if missing and len(frame):
        raise UserError(f"the RULER metric needs the columns {', '.join(missing)}.")
    if frame.empty:
        return np.zeros(0)
    rows = zip(frame["task"], frame["predicted_answer"], frame["answer"], strict=True)
    return np.array([score(text, answer, part=_part(task)) for task, text, answer in rows])


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
    means = pd.Series(sample_scores(frame)).groupby(frame["task"].to_numpy(), sort=False).mean()
    scores = {str(task): round(100 * float(mean), 2) for task, mean in means.items()}
    ordered = [task for task in TASKS if task in scores]
    ordered += sorted(scores.keys() - TASKS.keys())
    average = round(sum(scores.values()) / len(scores), 2)
    result = {task: {"string_match": scores[task]} for task in ordered}
    return {**result, "average": {"string_match": average}}
