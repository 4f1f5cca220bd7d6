"""Exact match."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmark.metrics.frames import as_array, percent, prediction_of, references_of, rows_of


def sample_scores(frame: pd.DataFrame) -> np.ndarray:
    rows = rows_of(frame, "colours", ("answer", "predicted_answer"))
    return as_array(prediction_of(row) in references_of(row, "colours") for row in rows)


def calculate_metrics(frame: pd.DataFrame) -> dict[str, Any]:
    scores = sample_scores(frame)
    return {"mixing": {"exact_match": percent(list(scores), 2)}} if len(scores) else {}
