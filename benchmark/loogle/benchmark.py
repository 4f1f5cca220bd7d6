"""LooGLE: questions about long documents, many of them about the same one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from benchmark.loogle import calculate_metrics as metrics
from benchmark.loogle.literals import literal
from benchmark.metrics.libraries import optional_library
from benchmark.suite.dataset import DatasetBenchmark, DatasetOptions
from benchmark.suite.prompt_files import PromptFiles
from benchmark.suite.rows import Kind, Row
from benchmark.suite.sources import json_lines, raw_file
from sparse_attention.prompt import PromptSettings
from sparse_attention.reading import check_json

PROMPT_FILES = PromptFiles(
    templates="task2prompt.json",
    limits="task2maxlen.json",
    document="input",
    slots={"Q"},
    project="bigai-nlco/LooGLE",
)


class LooGLEOptions(DatasetOptions):
    """Options of ``LooGLE``."""

    prompts: str | None = None
    """Folder with ``task2prompt.json`` and ``task2maxlen.json``, for raw files; without it they
    are looked for beside the data."""
    bert_score: bool = False
    """Compute BERTScore too, with the package ``bert-score`` and the model ``roberta-large``."""
    compat: metrics.Compat = "upstream"
    """Whose count of failed cloze answers, and of empty ones."""


class LooGLE(DatasetBenchmark):
    """LooGLE (arXiv:2311.04939): QA, cloze and summaries of long documents.

    ``LooGLEOptions`` has the options.  Raw source: a folder with ``<task>.jsonl``, or one such file
    for its task.  The questions about a document are samples of one context.
    """

    name = "loogle"
    summary = "LooGLE: QA, cloze and summaries of long documents, many questions each"
    subsets = metrics.TASKS
    prompt = PromptSettings(chat_template="never", truncation="middle", separator="")
    options_class = LooGLEOptions
    hub_dataset = "simonjegou/loogle"
    sample_folder = Path(__file__).parent / "sample_data"
    columns: ClassVar[Mapping[str, Kind]] = {"title": "text", "type": "text"}
    _options: LooGLEOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self._options.bert_score:  # better now than when all is answered
            optional_library("bert_score", "BERTScore", "bert")

    def raw_rows(self, source: Path, subset: str) -> Iterable[Row]:
        """A row for each question of upstream's JSON lines, which have a document each."""
        file = raw_file(source, f"{subset}.jsonl", "data", "LooGLE-testdata")
        prompt = PROMPT_FILES.prompt(subset, self._options.prompts, file)
        for row in json_lines(file):
            document = row.text("input")
            for question, answer, kind in _questions(row, subset):
                yield row.with_values(
                    **prompt.template.fill({"input": document, "Q": question}),
                    answer=[answer],
                    max_new_tokens=prompt.max_new_tokens,
                    task=subset,
                    type=kind,
                )

    def remarks(self, subset: str) -> tuple[str, ...]:
        """What was left out of the scores, and why."""
        if subset == metrics.CLOZE:
            found = []
        else:
            found = ["The score of a sample is ROUGE-L recall."]
            if obstacle := metrics.meteor_obstacle():
                found.append(f"Without METEOR: {obstacle}")
            if not self._options.bert_score:
                found.append("BERTScore is off; the option bert_score=true turns it on.")
        if self._options.compat != "upstream":
            found.append(f"Scored by the rules of {self._options.compat}.")
        return tuple(found)

    def sample_scores(self, frame: pd.DataFrame) -> np.ndarray:
        """ROUGE-L recall of each sample, or the share of its entities that are right."""
        return metrics.sample_scores(frame, self._options.compat)

    def calculate_metrics(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Scores by task in [0, 1], rounded as upstream."""
        return metrics.calculate_metrics(frame, self._options.compat, self._options.bert_score)


def _questions(row: Row, subset: str) -> Iterator[tuple[str, str, str | None]]:
    """Question, answer and type, where there is one."""
    if subset == "longdep_summarization":
        yield "", row.text("output"), None
        return
    for pair in _pairs(row):
        question, answer, kind = pair.get("Q"), pair.get("A"), pair.get("type")
        if not isinstance(question, str):
            raise row.error("qa_pairs", "has an element whose Q is not a text")
        if subset == metrics.CLOZE:
            if not metrics.is_cloze_answer(answer):
                raise row.error("qa_pairs", "has an element whose A is no dictionary of texts")
            answer = json.dumps(answer, ensure_ascii=False)
        elif not isinstance(answer, str):
            raise row.error("qa_pairs", "has an element whose A is not a text")
        yield question, answer, kind if isinstance(kind, str) else None


def _pairs(row: Row) -> list[dict[str, Any]]:
    pairs = row.values.get("qa_pairs")
    if isinstance(pairs, str):
        try:
            pairs = literal(pairs)
        except ValueError as error:
            raise row.error("qa_pairs", f"cannot be read: {error}") from error
        check_json(pairs, f"{row.place}, the field 'qa_pairs'")
    if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
        raise row.error("qa_pairs", "is not a list of dictionaries, or the text of one")
    return pairs
