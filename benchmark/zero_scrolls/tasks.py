"""The ten tasks of ZeroSCROLLS: metric and limit of new tokens.

Source: the paper and the experiments of tau-nlp/zero_scrolls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Metric = Literal["rouge", "f1", "accuracy", "exponential_similarity", "concordance"]


@dataclass(frozen=True)
class Task:
    """One task."""

    name: str
    metric: Metric
    max_new_tokens: int


def _table(*tasks: Task) -> dict[str, Task]:
    return {task.name: task for task in tasks}


TASKS = _table(
    Task("gov_report", "rouge", 1024),
    Task("summ_screen_fd", "rouge", 512),
    Task("qmsum", "rouge", 512),
    Task("squality", "rouge", 512),
    Task("qasper", "f1", 128),
    Task("narrative_qa", "f1", 64),
    Task("quality", "accuracy", 10),
    Task("musique", "f1", 32),
    Task("space_digest", "exponential_similarity", 36),
    Task("book_sum_sort", "concordance", 256),
)
