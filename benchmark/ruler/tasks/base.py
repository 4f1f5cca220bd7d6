"""What the generators of all tasks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from benchmark.ruler.haystack import Haystack
from benchmark.ruler.length import Count
from benchmark.ruler.lexicon import Lexicon
from benchmark.ruler.prompts import Prompts
from benchmark.ruler.qa_data import QuestionSet
from benchmark.ruler.sampling import SampleRandom
from sparse_attention.prompt import seam


@dataclass(frozen=True)
class Prompt:
    """The texts of a sample."""

    context: str
    question: str
    answer_prefix: str
    answers: tuple[str, ...]
    answer_text: str | None = None
    """A wordy right answer, where the limit of new tokens may shrink to it at short lengths."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tail(self) -> str:
        """What the model reads after the context."""
        return self.question + seam(self.question, self.answer_prefix, "\n") + self.answer_prefix


@dataclass(frozen=True)
class Plan:
    """One sample whose size is still open."""

    build: Callable[[int], Prompt]
    """Prompt of a given size; equal sizes give equal prompts."""
    smallest: int = 1
    largest: int | None = None
    """The largest size that the material allows; None for no bound."""


@dataclass(frozen=True)
class Material:
    """What samples are made from."""

    length: int
    """Tokens of prompt and answer together."""
    prompts: Prompts
    lexicon: Lexicon
    haystack: Haystack | None
    """For tasks that need prose only."""
    questions: QuestionSet | None
    """For question answering only."""
    one_shot: bool
    """Whether vt and cwe start with a solved example."""
    count: Count


class Generator(Protocol):
    """Makes the plan of one sample."""

    def __call__(self, material: Material, random: SampleRandom) -> Plan:
        """Return the plan of the sample that ``random`` belongs to."""


@dataclass(frozen=True)
class Task:
    """One of RULER's tasks."""

    name: str
    generator: Generator
    max_new_tokens: int
    metric: Literal["all", "part"]
    wording: str
    """Upstream's name of what its tasks of one wording share."""
    needs: Literal["prose", "questions"] | None = None
    """What the task takes from outside the lexicon."""


def solved(prompt: Prompt, task: str, prompts: Prompts) -> str:
    """Return a prompt with its answers as text, to stand as an example before another one."""
    answers = prompts.text(f"{task}.example_joiner").join(
        prompts.text(f"{task}.example_answer", answer=answer, number=number)
        for number, answer in enumerate(prompt.answers, start=1)
    )
    text = prompt.context + prompt.tail
    return prompts.text(f"{task}.example", prompt=text, answers=answers)
