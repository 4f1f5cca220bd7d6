"""Questions of one's own, from one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from benchmark.custom import calculate_metrics as metrics
from benchmark.suite.dataset import DatasetBenchmark, DatasetOptions
from benchmark.suite.rows import Kind, Row
from benchmark.suite.sources import json_lines, json_records
from sparse_attention.errors import UserError
from sparse_attention.reading import shown, user_file

SUBSET = "all"


class CustomOptions(DatasetOptions):
    """Options of ``Custom``."""

    file: str | None = None
    """JSON lines, a JSON list or parquet; each row has ``context``, ``question`` and ``answer`` (a
    text or a list of them), and may have ``answer_prefix``, ``max_new_tokens`` and ``group``."""
    metric: metrics.Metric = "contains"
    max_new_tokens: int = Field(default=64, ge=1, le=2**20)
    """Of rows that say nothing else."""
    answer_prefix: str = ""
    """Of rows that say nothing else."""


class Custom(DatasetBenchmark):
    """Questions of your own: ``context``, ``question`` and ``answer`` in each row of a file.

    ``CustomOptions`` has the options.
    """

    name = "custom"
    summary = "your own questions: a file with context, question and answer in each row"
    subsets = (SUBSET,)
    options_class = CustomOptions
    hub_dataset = ""  # there is none
    sample_folder = Path(__file__).parent / "sample_data"
    columns: ClassVar[Mapping[str, Kind]] = {"group": "text"}
    _options: CustomOptions

    def __init__(self, **options: Any) -> None:
        file = options.get("file")
        if file is not None:
            if "source" in options:
                raise UserError("the benchmark custom takes either file or source, not both.")
            if not isinstance(file, str | Path):
                raise UserError(f"the benchmark custom: {shown(file)} is no name of a file.")
            options["source"] = str(user_file(file, "the benchmark custom"))
        super().__init__(**options)

    def hub_rows(self, subset: str) -> Iterable[Row]:
        """There are none: the questions are the user's."""
        raise UserError(
            "the benchmark custom reads your own questions: set its option file to JSON lines "
            "(--option custom.file=mine.jsonl), each with context, question and answer."
        )

    def raw_rows(self, source: Path, subset: str) -> Iterable[Row]:
        """Rows of JSON lines or of a JSON list."""
        file = source / "questions.jsonl" if source.is_dir() else source
        for row in (json_records if file.suffix == ".json" else json_lines)(file):
            yield self.prepared_row(row, subset)

    def prepared_row(self, row: Row, subset: str) -> Row:
        """A row with what it leaves out."""
        given = row.values
        return row.with_values(
            answer_prefix=given.get("answer_prefix") or self._options.answer_prefix,
            max_new_tokens=given.get("max_new_tokens") or self._options.max_new_tokens,
            task=subset,
        )

    def sample_scores(self, frame: pd.DataFrame) -> np.ndarray:
        """By the metric that the options name."""
        return metrics.sample_scores(frame, self._options.metric)

    def calculate_metrics(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Mean in percent, of all and by group."""
        return metrics.calculate_metrics(frame, self._options.metric)
