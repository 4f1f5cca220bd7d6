"""ZeroSCROLLS: ten tasks without examples; validation scores, and a submission for the test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from benchmark.suite.dataset import DatasetBenchmark, DatasetOptions
from benchmark.suite.rows import Kind, Row
from benchmark.suite.sources import hub_file, json_lines
from benchmark.zero_scrolls import calculate_metrics as metrics
from benchmark.zero_scrolls.tasks import TASKS
from sparse_attention.errors import UserError
from sparse_attention.prompt import PromptSettings

_RAW_HUB_DATASET = "tau/zero_scrolls"


class ZeroScrollsOptions(DatasetOptions):
    """Options of ``ZeroScrolls``."""

    split: Literal["validation", "test"] = "validation"
    """``validation`` has references, about 20 samples a task; of ``test`` only its authors have
    them, and a run gives the predictions for a submission."""


class ZeroScrolls(DatasetBenchmark):
    """ZeroSCROLLS (arXiv:2305.14196): ten tasks about long texts, without examples.

    ``ZeroScrollsOptions`` has the options.  Raw source: a folder with ``<task>/<split>.jsonl``, or
    with upstream's ``<task>.zip``.  Rows of one id are one sample with several references.
    """

    name = "zero_scrolls"
    summary = "ZeroSCROLLS: ten tasks about long texts; validation scores, test submission"
    subsets = tuple(TASKS)
    prompt = PromptSettings(
        chat_template="never", truncation="right", separator="", max_prompt_tokens=8192
    )
    options_class = ZeroScrollsOptions
    hub_dataset = "simonjegou/zero_scrolls"
    sample_folder = Path(__file__).parent / "sample_data"
    columns: ClassVar[Mapping[str, Kind]] = {"example_id": "text", "truncation_notice": "text"}
    _options: ZeroScrollsOptions

    @property
    def has_references(self) -> bool:
        """Those of the test split are hidden."""
        return self._options.split == "validation"

    def raw_rows(self, source: Path, subset: str) -> Iterable[Row]:
        """Rows of upstream's JSON lines."""
        # The rows that ship with the project serve both splits.
        split = "validation" if source == self.sample_folder else self._options.split
        name = f"{split}.jsonl"
        if not source.is_dir():
            rows = json_lines(source)
        elif (source / subset / name).is_file():
            rows = json_lines(source / subset / name)
        elif (source / f"{subset}.zip").is_file():
            rows = json_lines(source / f"{subset}.zip", f"{subset}/{name}")
        else:
            raise UserError(f"{source} has neither {subset}/{name} nor {subset}.zip.")
        return self._merged(rows, subset)

    def hub_rows(self, subset: str) -> Iterable[Row]:
        """The prepared dataset has the test split; validation comes from upstream's archives."""
        if self._options.split == "test":
            return super().hub_rows(subset)
        archive = hub_file(_RAW_HUB_DATASET, f"{subset}.zip")
        return self._merged(json_lines(archive, f"{subset}/validation.jsonl"), subset)

    def hub_config(self, subset: str) -> str | None:
        """All tasks are in the dataset's only configuration."""
        return None

    def prepared_row(self, row: Row, subset: str) -> Row:
        """Rows of the hub still have upstream's columns; those of the test split no reference."""
        if "input" not in row.values:
            return row
        return _columns(row, row.text("task"), [])

    def remarks(self, subset: str) -> tuple[str, ...]:
        """Which split it is, and how small."""
        number = len(self.read(subset))
        if self._options.split == "test":
            return (f"{subset}: {number} test samples without public references; not scored here.",)
        return (
            f"{subset}: {number} validation samples; published scores are of the hidden test set.",
        )

    def sample_scores(self, frame: pd.DataFrame) -> np.ndarray:
        """Each sample's score by the metric of its task."""
        return metrics.sample_scores(frame)

    def calculate_metrics(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Percent by task, with the number of samples."""
        return metrics.calculate_metrics(frame)

    def _merged(self, rows: Iterable[Row], task: str) -> Iterator[Row]:
        """One row for each id, with the outputs of all its rows as references."""
        first: dict[str, Row] = {}
        outputs: dict[str, list[str]] = {}
        for row in rows:
            name = row.text("id")
            first.setdefault(name, row)
            found = outputs.setdefault(name, [])
            if self.has_references:
                found.append(row.text("output"))
        for name, row in first.items():
            yield _columns(row, task, outputs[name])


def _columns(row: Row, task: str, answers: list[str]) -> Row:
    """The usual columns; context, question and answer prefix together are upstream's input.

    The context ends where the query begins, where upstream puts its notice that text was cut.
    """
    text = row.text("input")
    places = {}
    for name in ("document_end_index", "query_start_index", "query_end_index"):
        places[name] = row.integer(name)
        if not 0 <= places[name] <= len(text):
            raise row.error(name, f"is {places[name]}, not within the {len(text)} of the input")
    begin = max(places["document_end_index"], places["query_start_index"])
    end = max(begin, places["query_end_index"])
    if not begin:
        raise row.error("document_end_index", "is 0, as query_start_index: there is no document")
    rest = text[end:]
    prefix = rest.lstrip()
    return row.with_values(
        context=text[:begin],
        question=text[begin:end] + rest[: len(rest) - len(prefix)],
        answer_prefix=prefix,
        answer=answers,
        max_new_tokens=TASKS[task].max_new_tokens,
        task=task,
        example_id=row.text("id"),
        truncation_notice=row.text("truncation_seperator"),
    )
