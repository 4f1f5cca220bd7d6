"""LongBench-v2: 503 multiple-choice questions about texts of 8 thousand to 2 million words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from benchmark.longbenchv2 import calculate_metrics as metrics
from benchmark.longbenchv2.prompts import MAX_NEW_TOKENS, load_template
from benchmark.suite.dataset import DatasetBenchmark, DatasetOptions
from benchmark.suite.rows import Kind, Row
from benchmark.suite.sources import json_records
from sparse_attention.errors import UserError
from sparse_attention.prompt import PromptSettings
from sparse_attention.reading import user_path


class LongBenchV2Options(DatasetOptions):
    """Options of ``LongBenchV2``."""

    prompts: str | None = None
    """Folder with ``0shot.txt``, ``0shot_cot.txt`` and ``0shot_no_context.txt``, for raw files;
    without it they are looked for beside the data."""
    compensated: bool = False
    """Count 0.25 for a prediction without an answer in the asked form."""
    compat: metrics.Compat = "upstream"
    """Whose rule for what a prediction answers."""


class LongBenchV2(DatasetBenchmark):
    """LongBench-v2 (arXiv:2412.15204): directly, with chain of thought, and without the text.

    ``LongBenchV2Options`` has the options.  Raw source: ``data.json``, or a folder with it.
    """

    name = "longbenchv2"
    summary = "LongBench-v2: hard multiple-choice questions about texts of up to 2 million words"
    subsets = ("0shot", "cot", "no_context")
    prompt = PromptSettings(truncation="middle", max_prompt_tokens=120_000)
    options_class = LongBenchV2Options
    hub_dataset = "Xnhyacinth/LongBench-v2"
    sample_folder = Path(__file__).parent / "sample_data"
    columns: ClassVar[Mapping[str, Kind]] = {
        "difficulty": "text",
        "length": "text",
        "domain": "text",
        "sub_domain": "text",
        "_id": "text",
    }
    _options: LongBenchV2Options

    def raw_rows(self, source: Path, subset: str) -> Iterable[Row]:
        """Rows of upstream's list of records with its prompt files."""
        file = source / "data.json" if source.is_dir() else source
        folder, given = file.parent, self._options.prompts
        own = [] if given is None else [user_path(given, "option prompts")]
        template = load_template(subset, *own, folder / "prompts", folder)
        for row in json_records(file):
            if row.text("answer") not in ("A", "B", "C", "D"):
                raise row.error("answer", f"is {row.text('answer')!r}, not one of A, B, C, D")
            yield row.with_values(
                **template.fill(row),
                answer_prefix="",
                max_new_tokens=MAX_NEW_TOKENS[subset],
                task=subset,
            )

    def hub_rows(self, subset: str) -> Iterable[Row]:
        """The prepared dataset has no rows without context."""
        if subset == "no_context":
            raise UserError(
                f"the prepared dataset {self.hub_dataset} has no subset no_context; set the option "
                "source to upstream's data.json."
            )
        return super().hub_rows(subset)

    def prepared_row(self, row: Row, subset: str) -> Row:
        """The hub's rows may have no task."""
        return row.with_values(task=subset)

    def sample_scores(self, frame: pd.DataFrame) -> np.ndarray:
        """Whether each answer is right."""
        return metrics.sample_scores(frame, self._options.compat, self._options.compensated)

    def calculate_metrics(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Accuracy in percent with one decimal, by task and group."""
        return metrics.calculate_metrics(frame, self._options.compat, self._options.compensated)
