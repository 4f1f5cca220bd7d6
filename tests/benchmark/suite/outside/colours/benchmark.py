"""The benchmark class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.suite.dataset import DatasetBenchmark
from benchmark.suite.rows import Row
from benchmark.suite.sources import json_lines
from colours import calculate_metrics as metrics


class Colours(DatasetBenchmark):
    name = "colours"
    summary = "Colours: which colour two others give"
    subsets = ("mixing",)
    hub_dataset = "nobody/colours"
    sample_folder = Path(__file__).parent / "sample_data"

    def raw_rows(self, source: Path, subset: str) -> Iterable[Row]:
        for row in json_lines(source / "mixing.jsonl"):
            yield row.with_values(
                context=row.text("rules"),
                question=f"Which colour do {row.text('first')} and {row.text('second')} give?",
                answer_prefix="Colour: ",
                answer=row.texts("result"),
                max_new_tokens=8,
                task=subset,
            )

    def sample_scores(self, frame: pd.DataFrame) -> np.ndarray:
        return metrics.sample_scores(frame)

    def calculate_metrics(self, frame: pd.DataFrame) -> dict[str, Any]:
        return metrics.calculate_metrics(frame)
