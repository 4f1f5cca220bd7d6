"""LongBench and LongBench-E: 21 tasks in English, Chinese and code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from benchmark.longbench import calculate_metrics as metrics
from benchmark.longbench.prompts import FILES, fill, with_late_question
from benchmark.longbench.tasks import SUBSETS, task_of
from benchmark.metrics.edit_similarity import Backend
from benchmark.suite.dataset import DatasetBenchmark, DatasetOptions
from benchmark.suite.rows import Kind, Row
from benchmark.suite.sources import json_lines, raw_file
from sparse_attention.prompt import PromptSettings


class LongBenchOptions(DatasetOptions):
    """Options of ``LongBench``."""

    prompts: str | None = None
    """Folder with ``dataset2prompt.json`` and ``dataset2maxlen.json``, for raw files; without it
    they are looked for beside the data."""
    edit_backend: Backend = "difflib"
    """How edit similarity is computed in lcc and repobench-p."""
    compat: metrics.Compat = "upstream"
    """Whose treatment of whitespace around predictions."""


class LongBench(DatasetBenchmark):
    """LongBench (arXiv:2308.14508): 21 tasks, and 13 of them again by length as LongBench-E.

    ``LongBenchOptions`` has the options.  Raw source: a folder with ``<task>.jsonl`` and
    ``<task>_e.jsonl``, or one that has them in ``data``.
    """

    name = "longbench"
    summary = "LongBench and LongBench-E: QA, summaries, few-shot, synthetic tasks, code; en and zh"
    subsets = SUBSETS
    prompt = PromptSettings(truncation="middle", separator="", answer_prefix_turn="user")
    options_class = LongBenchOptions
    hub_dataset = "Xnhyacinth/LongBench"
    sample_folder = Path(__file__).parent / "sample_data"
    columns: ClassVar[Mapping[str, Kind]] = {
        "all_classes": "texts",
        "length": "integer",
        "language": "text",
        "dataset": "text",
        "_id": "text",
    }
    _options: LongBenchOptions

    def prompt_settings(self, subset: str) -> PromptSettings:
        """No chat template around texts to go on with, as upstream."""
        if task_of(subset).continues_text:
            return self.prompt.model_copy(update={"chat_template": "never"})
        return self.prompt

    def raw_rows(self, source: Path, subset: str) -> Iterable[Row]:
        """Rows of upstream's JSON lines with its prompt files."""
        task = task_of(subset).name
        # The rows that ship with the project serve both lists of tasks.
        name = task if source == self.sample_folder else subset
        file = raw_file(source, f"{name}.jsonl", "data")
        prompt = FILES.prompt(task, self._options.prompts, file)
        template = with_late_question(prompt.template)
        for row in json_lines(file):
            yield row.with_values(
                **fill(template, row),
                answer=row.texts("answers"),
                max_new_tokens=prompt.max_new_tokens,
                task=subset,
            )

    def prepared_row(self, row: Row, subset: str) -> Row:
        """The hub's rows name their references ``answers`` and may lack the ending of E."""
        if "answer" not in row.values:
            row = row.with_values(answer=row.texts("answers"))
        return row.with_values(task=subset)

    def remarks(self, subset: str) -> tuple[str, ...]:
        """Which edit similarity it is."""
        if task_of(subset).metric != "edit_similarity":
            return ()
        return (f"{subset}: edit similarity by {self._options.edit_backend}.",)

    def sample_scores(self, frame: pd.DataFrame) -> np.ndarray:
        """Each sample's score by the metric of its task."""
        return metrics.sample_scores(frame, self._options.edit_backend, self._options.compat)

    def calculate_metrics(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Percent by task, with two decimals as upstream; by length for LongBench-E."""
        return metrics.calculate_metrics(frame, self._options.edit_backend, self._options.compat)
