"""The 21 tasks of LongBench: category, language, metric and what upstream does differently in each.

Source: the evaluation and prediction scripts of THUDM/LongBench.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Metric = Literal[
    "f1",
    "f1_zh",
    "rouge_l",
    "rouge_l_zh",
    "classification",
    "retrieval_en",
    "retrieval_zh",
    "count",
    "edit_similarity",
]


@dataclass(frozen=True)
class Task:
    """One task."""

    name: str
    category: str
    language: Literal["en", "zh", "code"]
    metric: Metric
    in_e: bool = False
    """Whether LongBench-E has it too, as ``<name>_e``."""

    @property
    def first_line_only(self) -> bool:
        """Whether only the first line of a prediction counts."""
        return self.category == "few-shot learning"

    @property
    def continues_text(self) -> bool:
        """Whether the prompt is a text to go on with, which no chat template may interrupt."""
        return self.category in ("few-shot learning", "code completion")


def _table(*tasks: Task) -> dict[str, Task]:
    return {task.name: task for task in tasks}


TASKS = _table(
    Task("narrativeqa", "single-document QA", "en", "f1"),
    Task("qasper", "single-document QA", "en", "f1", in_e=True),
    Task("multifieldqa_en", "single-document QA", "en", "f1", in_e=True),
    Task("multifieldqa_zh", "single-document QA", "zh", "f1_zh"),
    Task("hotpotqa", "multi-document QA", "en", "f1", in_e=True),
    Task("2wikimqa", "multi-document QA", "en", "f1", in_e=True),
    Task("musique", "multi-document QA", "en", "f1"),
    Task("dureader", "multi-document QA", "zh", "rouge_l_zh"),
    Task("gov_report", "summarization", "en", "rouge_l", in_e=True),
    Task("qmsum", "summarization", "en", "rouge_l"),
    Task("multi_news", "summarization", "en", "rouge_l", in_e=True),
    Task("vcsum", "summarization", "zh", "rouge_l_zh"),
    Task("trec", "few-shot learning", "en", "classification", in_e=True),
    Task("triviaqa", "few-shot learning", "en", "f1", in_e=True),
    Task("samsum", "few-shot learning", "en", "rouge_l", in_e=True),
    Task("lsht", "few-shot learning", "zh", "classification"),
    Task("passage_count", "synthetic", "en", "count", in_e=True),
    Task("passage_retrieval_en", "synthetic", "en", "retrieval_en", in_e=True),
    Task("passage_retrieval_zh", "synthetic", "zh", "retrieval_zh"),
    Task("lcc", "code completion", "code", "edit_similarity", in_e=True),
    Task("repobench-p", "code completion", "code", "edit_similarity", in_e=True),
)

SUBSETS = (*TASKS, *(f"{task.name}_e" for task in TASKS.values() if task.in_e))


def task_of(subset: str) -> Task:
    """The task of a subset of LongBench or LongBench-E."""
    return TASKS[subset.removesuffix("_e")]


def is_e(subset: str) -> bool:
    """Whether a subset is one of LongBench-E."""
    return subset.endswith("_e")
