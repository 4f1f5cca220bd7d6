"""RULER's 13 tasks by name."""

from typing import Literal

from benchmark.ruler.tasks.base import Material, Plan, Prompt, Task
from benchmark.ruler.tasks.cwe import common_words_extraction
from benchmark.ruler.tasks.fwe import frequent_words_extraction
from benchmark.ruler.tasks.niah import Niah
from benchmark.ruler.tasks.qa import question_answering
from benchmark.ruler.tasks.vt import variable_tracking

__all__ = ["TASKS", "Material", "Plan", "Prompt", "Task"]


def _niah(name: str, generator: Niah) -> Task:
    needs: Literal["prose"] | None = "prose" if generator.haystack == "essay" else None
    return Task(name, generator, 128, metric="all", needs=needs)


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
        Task("vt", variable_tracking, max_new_tokens=30, metric="all"),
        Task("cwe", common_words_extraction, max_new_tokens=120, metric="all"),
        Task("fwe", frequent_words_extraction, max_new_tokens=50, metric="all"),
        Task("qa_1", question_answering, max_new_tokens=32, metric="part", needs="questions"),
        Task("qa_2", question_answering, max_new_tokens=32, metric="part", needs="questions"),
    )
}
