"""InfiniteBench: twelve tasks about texts of more than 100 thousand tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.infinite_bench import calculate_metrics as metrics
from benchmark.infinite_bench.prompts import (
    OWN_WORDING,
    fill,
    label,
    load_template,
    with_option_text,
)
from benchmark.infinite_bench.rules import WITH_OPTIONS
from benchmark.suite.dataset import DatasetBenchmark, DatasetOptions, parquet_files
from benchmark.suite.rows import Row
from benchmark.suite.sources import json_lines, raw_file
from sparse_attention.prompt import PromptSettings
from sparse_attention.reading import user_path

MAX_NEW_TOKENS: Mapping[str, int] = {
    "passkey": 6,
    "number_string": 12,
    "kv_retrieval": 50,
    "longbook_sum_eng": 1200,
    "longbook_choice_eng": 40,
    "longbook_qa_eng": 40,
    "longbook_qa_chn": 40,
    "longdialogue_qa_eng": 40,
    "math_find": 3,
    "math_calc": 30000,
    "code_run": 5,
    "code_debug": 5,
}
"""Upstream's limits by task."""


class InfiniteBenchOptions(DatasetOptions):
    """Options of ``InfiniteBench``."""

    prompts: str | None = None
    """For raw files: upstream's ``src/prompt.py``, or JSON with a template for each task; without
    it the project's own wording."""
    prompt_set: str = "yarn_mistral"
    """Which of the sets in ``prompt.py``."""
    compat: metrics.Compat = "upstream"
    """Whose rules find the answer in code_debug, longbook_choice_eng and longdialogue_qa_eng."""
    skip_first_value: bool = False
    """Leave out the first number of a prediction in math_calc, as upstream does for GPT-4 alone."""


class InfiniteBench(DatasetBenchmark):
    """InfiniteBench (arXiv:2402.13718): retrieval, books, dialogue, mathematics and code.

    ``InfiniteBenchOptions`` has the options.  Raw source: a folder with ``<task>.jsonl``, or one
    such file for its task.
    """

    name = "infinite_bench"
    summary = "InfiniteBench: retrieval, books, dialogue, mathematics, code beyond 100k tokens"
    subsets = tuple(MAX_NEW_TOKENS)
    prompt = PromptSettings(chat_template="never", truncation="middle", separator="")
    options_class = InfiniteBenchOptions
    hub_dataset = "MaxJeblick/InfiniteBench"
    sample_folder = Path(__file__).parent / "sample_data"
    _options: InfiniteBenchOptions

    def raw_rows(self, source: Path, subset: str) -> Iterable[Row]:
        """Rows of upstream's JSON lines."""
        given = self._options.prompts
        file = OWN_WORDING if given is None else user_path(given, "option prompts")
        template = load_template(file, self._options.prompt_set, subset)
        for row in json_lines(raw_file(source, f"{subset}.jsonl", "data")):
            yield row.with_values(
                **fill(template, row, subset),
                answer=label(row, subset),
                max_new_tokens=MAX_NEW_TOKENS[subset],
                task=subset,
            )

    def prepared_row(self, row: Row, subset: str) -> Row:
        """The hub's rows lack the text of the right option."""
        if subset in WITH_OPTIONS:
            return with_option_text(row)
        return row

    def remarks(self, subset: str) -> tuple[str, ...]:
        """What makes the numbers incomparable with published ones."""
        found = []
        source = user_path(self._options.source, f"source of {self.name}")
        raw = source.exists() and not parquet_files(source, subset)
        if raw and self._options.prompts is None:
            found.append("The prompts are in this project's wording, not upstream's.")
        if self._options.compat != "upstream":
            found.append(f"Scored by the rules of {self._options.compat}.")
        return tuple(found)

    def sample_scores(self, frame: pd.DataFrame) -> np.ndarray:
        """Each sample's score by the rule of its task."""
        return metrics.sample_scores(frame, self._options.compat, self._options.skip_first_value)

    def calculate_metrics(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Mean by task, in [0, 1] without rounding as upstream."""
        return metrics.calculate_metrics(
            frame, self._options.compat, self._options.skip_first_value
        )
