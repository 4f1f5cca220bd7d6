"""RULER's 13 tasks by name."""

from typing import Literal

from benchmark.ruler.tasks.base import Generator, Material, Plan, Prompt, Task
from benchmark.ruler.tasks.cwe import common_words_extraction
from benchmark.ruler.tasks.fwe import frequent_words_extraction
from benchmark.ruler.tasks.niah import Niah
from benchmark.ruler.tasks.qa import question_answering
from benchmark.ruler.tasks.vt import variable_tracking

__all__ = ["TASKS", "Material", "Plan", "Prompt", "Task"]


def _niah(name: str, generator: Niah) -> Task:
    needs: Literal["prose"] | None = "prose" if generator.haystack == "essay" else None
    return Task(name, generator, 128, metric="all", wording="niah", needs=needs)


def _aggregation(name: str, generator: Generator, max_new_tokens: int, wording: str) -> Task:
    return Task(name, generator, max_new_tokens, metric="all", wording=wording)


def _questions(name: str) -> Task:
    return Task(name, question_answering, 32, metric="part", wording="qa", needs="questions")


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _niah("niah_single_1", Niah("repeat")),
        _niah("niah_single_2", Niah("essay")),
        _niah("niah_single_3", Niah("essay", value_type="uuids")),
        _niah("niah_multikey_1", Niah("essay", keys=4)),
        _niah("niah_multikey_2", Niah("needle")),
        _niah("niah_multikey_3", Niah("needle", key_type="uuids", value_type="uuids")),
        _niah("niah_multivalue", Niah("essay", values=4)),
        _niah("niah_multiquery", Niah("essay", keys=4, queries=4)),
        _aggregation("vt", variable_tracking, 30, "variable_tracking"),
        _aggregation("cwe", common_words_extraction, 120, "common_words_extraction"),
        _aggregation("fwe", frequent_words_extraction, 50, "freq_words_extraction"),
        _questions("qa_1"),
        _questions("qa_2"),
    )
}
