"""LongBench's scores, by task and for LongBench-E by length.

Source: ``eval.py`` and ``metrics.py`` of THUDM/LongBench.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmark.longbench.tasks import SUBSETS, TASKS, is_e, task_of
from benchmark.metrics import rouge_pltrdy
from benchmark.metrics.answers import class_share, number_share
from benchmark.metrics.edit_similarity import Backend, edit_similarity
from benchmark.metrics.frames import (
    as_array,
    percent,
    prediction_of,
    references_of,
    scores_by,
    task_rows,
)
from benchmark.metrics.normalize import chinese_words
from benchmark.metrics.overlap import best_of, chinese_word_f1, english_f1
from sparse_attention.errors import UserError

Compat = Literal["upstream", "kvpress"]
"""``kvpress`` strips whitespace from predictions first, which changes few-shot and code tasks."""

BUCKETS = ("0-4k", "4-8k", "8k+")
"""Lengths of LongBench-E: below 4000, below 8000, the rest."""

_PARAGRAPH = {"en": re.compile(r"Paragraph (\d+)"), "zh": re.compile(r"段落(\d+)")}
_COMMENT = ("`", "#", "//")


def sample_scores(
    frame: pd.DataFrame, edit_backend: Backend = "difflib", compat: Compat = "upstream"
) -> np.ndarray:
    """Score of each row in [0, 1], float64 of shape (rows,), from the columns of
    ``calculate_metrics``.
    """
    return as_array(_score(row, edit_backend, compat) for row in _rows(frame))


def calculate_metrics(
    frame: pd.DataFrame, edit_backend: Backend = "difflib", compat: Compat = "upstream"
) -> dict[str, Any]:
    """Percent with two decimals, by task: ``{task: {metric: score}}``.

    ``frame`` has the columns ``task``, ``answer`` or ``answers`` (list of references),
    ``predicted_answer``, for trec and lsht ``all_classes``, and for the tasks of LongBench-E
    (``<task>_e``) ``length``; their scores stand by length instead, None for a length without
    samples.  Where all tasks of a language are there, ``average`` has the mean over the means of
    its six categories, code counted in both languages.  Raises ``UserError`` for an unknown task, a
    missing column, and a row without reference.
    """
    rows = _rows(frame)
    scores = [_score(row, edit_backend, compat) for row in rows]
    by_task = scores_by(rows, scores, lambda row: row["task"])
    result: dict[str, Any] = {}
    for name in SUBSETS:
        if name not in by_task:
            continue
        metric = _metric_name(name, edit_backend)
        if is_e(name):
            chosen = [
                (row, score) for row, score in zip(rows, scores, strict=True) if row["task"] == name
            ]
            buckets = scores_by([row for row, _ in chosen], [score for _, score in chosen], _bucket)
            result[name] = {
                metric: {b: percent(buckets[b], 2) if b in buckets else None for b in BUCKETS}
            }
        else:
            result[name] = {metric: percent(by_task[name], 2)}
    averages = _averages({name: percent(found, 2) for name, found in by_task.items()})
    return {**result, "average": averages} if averages else result


def code_line(prediction: str) -> str:
    """The first line of a prediction that is no comment or fence; empty if there is none."""
    lines = prediction.lstrip("\n").split("\n")
    return next((line for line in lines if not any(mark in line for mark in _COMMENT)), "")


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    if "answers" in frame and "answer" not in frame:
        frame = frame.rename(columns={"answers": "answer"})
    return task_rows(frame, "LongBench", SUBSETS)


def _metric_name(subset: str, edit_backend: Backend) -> str:
    metric = task_of(subset).metric
    return f"edit_similarity_{edit_backend}" if metric == "edit_similarity" else metric


def _score(row: Mapping[str, Any], edit_backend: Backend, compat: Compat) -> float:
    task = task_of(row["task"])
    prediction = prediction_of(row)
    # kvpress treats LongBench-E as upstream does.
    if compat == "kvpress" and not is_e(row["task"]):
        prediction = prediction.lstrip()
    if task.first_line_only:
        prediction = prediction.lstrip("\n").split("\n")[0]
    metric = _metric(row, edit_backend)
    return best_of(metric, prediction, references_of(row, "LongBench"))


def _metric(row: Mapping[str, Any], edit_backend: Backend) -> Callable[[str, str], float]:
    match task_of(row["task"]).metric:
        case "f1":
            return english_f1
        case "f1_zh":
            return chinese_word_f1
        case "rouge_l":
            return _rouge_l
        case "rouge_l_zh":
            return _rouge_l_zh
        case "count":
            return number_share
        case "retrieval_en":
            return lambda prediction, reference: _retrieval(prediction, reference, "en")
        case "retrieval_zh":
            return lambda prediction, reference: _retrieval(prediction, reference, "zh")
        case "classification":
            classes = _classes(row)
            return lambda prediction, reference: class_share(prediction, reference, classes)
        case "edit_similarity":
            return lambda prediction, reference: edit_similarity(
                code_line(prediction), reference, edit_backend
            )


def _rouge_l(prediction: str, reference: str) -> float:
    return rouge_pltrdy.rouge_l(prediction, reference).f


def _rouge_l_zh(prediction: str, reference: str) -> float:
    return _rouge_l(*(" ".join(chinese_words(text)) for text in (prediction, reference)))


def _retrieval(prediction: str, reference: str, language: str) -> float:
    number = _PARAGRAPH[language].search(reference)
    if number is None:
        raise UserError(f"the reference {reference!r} names no paragraph.")
    return number_share(prediction, number[1])


def _classes(row: Mapping[str, Any]) -> Sequence[str]:
    classes = row.get("all_classes")
    if not isinstance(classes, Iterable) or isinstance(classes, str):
        raise UserError(f"the metric of {row['task']} needs the list all_classes in every row.")
    return [str(name) for name in classes]


def _bucket(row: Mapping[str, Any]) -> str:
    length = row.get("length")
    if not isinstance(length, int | float | np.number) or length != length:
        raise UserError(f"the metric of {row['task']} needs the number length in every row.")
    return BUCKETS[0 if length < 4000 else 1 if length < 8000 else 2]


def _averages(scores: Mapping[str, float]) -> dict[str, float]:
    averages = {}
    for language in ("en", "zh"):
        tasks = [task for task in TASKS.values() if task.language in (language, "code")]
        if any(task.name not in scores for task in tasks):
            continue
        categories: dict[str, list[float]] = {}
        for task in tasks:
            categories.setdefault(task.category, []).append(scores[task.name])
        means = [sum(found) / len(found) for found in categories.values()]
        averages[language] = round(sum(means) / len(means), 2)
    return averages
