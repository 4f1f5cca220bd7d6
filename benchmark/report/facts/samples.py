"""Questions and answers for the browser of samples, within a bound on their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.report.facts.groups import GroupFacts
from benchmark.report.facts.shown import number, passage

LARGEST = 9_000_000
"""Characters of all answers and questions in one page; a page may have 20 MB."""
_COLUMNS = [
    *("id", "folder", "prompt", "prompt_tokens", "excerpt", "question", "answer_prefix"),
    *("references", "predicted_answer", "status", "detail", "score", "density"),
]
_ANSWER, _QUESTION, _EDGE = 400, 1200, 700
"""Characters that are shown of each."""


def sample_facts(
    group: GroupFacts, predictions: pd.DataFrame, budget: int
) -> tuple[list[dict[str, Any]], int]:
    """The samples of each subset with all their answers, and what is left of the budget.

    Of each subset the first samples, as many as fit; ``of`` says how many there are.
    """
    places = {
        folder: place
        for place, one in enumerate(group.configurations)
        for folder in one.folders.values()
    }
    facts = []
    for place, subset in enumerate(group.subsets):
        own = [one.folders[subset] for one in group.configurations if subset in one.folders]
        frame = predictions[predictions["folder"].isin(own)]
        share = budget // (len(group.subsets) - place)
        found, used = _subset(frame, places, share)
        budget -= used
        facts.append({"subset": passage(subset, 120), **found})
    return facts, budget


def _subset(
    frame: pd.DataFrame, places: Mapping[str, int], budget: int
) -> tuple[dict[str, Any], int]:
    samples: list[dict[str, Any]] = []
    used = 0
    by_sample: dict[str, list[Mapping[str, Any]]] = {}
    for row in frame[_COLUMNS].to_dict("records"):
        by_sample.setdefault(row["id"], []).append(row)
    for id, rows in by_sample.items():
        fact = _sample(id, rows, places)
        size = len(fact["question"]) + sum(len(text) + 30 for text in fact["texts"])
        size += 12 * len(fact["answers"]) + len(fact["excerpt"]) + len(fact["prompt"])
        if used + size > budget:
            break
        used += size
        samples.append(fact)
    return {"samples": samples, "of": len(by_sample)}, used


def _sample(
    id: str, rows: Sequence[Mapping[str, Any]], places: Mapping[str, int]
) -> dict[str, Any]:
    first = max(rows, key=lambda row: (row["prompt"] is not None, row["prompt_tokens"]))
    texts: dict[str, int] = {}
    answers = []
    for row in rows:
        text = row["predicted_answer"]
        if text is None:
            text = f"[{row['status']}: {row['detail']}]"
        # Most configurations give the same answer: each text stands there once.
        own = texts.setdefault(passage(text, _ANSWER), len(texts))
        answers.append([places[row["folder"]], own, number(row["score"]), number(row["density"])])
    return {
        "id": passage(id, 120),
        "question": passage(first["question"] or "", _QUESTION),
        "prefix": passage(first["answer_prefix"] or "", _QUESTION),
        "references": [passage(text, _ANSWER) for text in (first["references"] or [])[:20]],
        "tokens": int(first["prompt_tokens"]),
        "prompt": _edges(first["prompt"]),
        "excerpt": passage(first["excerpt"] or "", _ANSWER),
        "texts": list(texts),
        "answers": answers,
    }


def _edges(prompt: str | None) -> str:
    """The edges of a prompt, where it was recorded."""
    if prompt is None:
        return ""
    if len(prompt) <= 2 * _EDGE:
        return passage(prompt, 2 * _EDGE)
    left = len(prompt) - 2 * _EDGE
    head, tail = passage(prompt[:_EDGE], _EDGE), passage(prompt[-_EDGE:], _EDGE)
    return f"{head}\n[... {left:,} characters ...]\n{tail}"
