"""Questions of the training text with their answers, worded as the RULER tasks word them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from benchmark.embedded_training import votes
from benchmark.embedded_training.tokenizer import count_tokens
from benchmark.ruler.prompts import Prompts, load_prompts

END = ".\n"
"""End of every answer; the newline stops the decoding."""


@dataclass(frozen=True)
class Question:
    """A question as alternating prompts and answers; only answers are trained on."""

    task: str
    segments: tuple[tuple[str, str], ...]

    @property
    def tokens(self) -> int:
        """Length in tokens."""
        return sum(count_tokens(prompt) + count_tokens(answer) for prompt, answer in self.segments)


@lru_cache(maxsize=1)
def prompts() -> Prompts:
    """RULER's default wording."""
    return load_prompts()


def listing(items: Sequence[str]) -> str:
    """Join with commas and a final "and": ``a``, ``a, and b``, ``a, b, and c``."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + ", and " + items[-1]


def ask_number(key: str, number: str, task: str) -> Question:
    """Ask for the number of one key."""
    return _question(task, "niah.single", f" {number}{END}", query=key)


def ask_numbers(pairs: Sequence[tuple[str, str]]) -> Question:
    """Ask for the numbers of several keys in one question."""
    answer = ",".join(f" for {key} is {number}" for key, number in pairs) + END
    query = listing([key for key, _ in pairs])
    return _question("multi_query", "niah.multiquery", answer, query=query)


def ask_chain(variables: Sequence[str], number: str) -> Question:
    """Ask for all variables that hold ``number``, in the order of their assignments."""
    return _question("variables", "vt", f" {', '.join(variables)}{END}", value=number)


def ask_votes(voter: str, winner: str) -> Question:
    """Ask what a voter chose most often."""
    prompt = f"{votes.QUESTION}\n{votes.ANSWER_PREFIX}".format(voter=voter)
    return Question("votes", ((prompt, f" {winner}{END}"),))


def ask_catalogue(pairs: Sequence[tuple[str, str]]) -> Question:
    """Ask for many numbers with the keys given; only the numbers are trained on.

    It looks like the answer to ``ask_numbers`` but spends six tokens per number, so that a short
    sequence holds many look-ups.
    """
    prompt = "Question: What are all the magic numbers?\nAnswer: The magic number"
    segments = []
    for key, number in pairs:
        segments.append((f"{prompt} for {key} is", f" {number}"))
        prompt = ","
    return Question("multi_key", (*segments, (END, "")))


def _question(task: str, wording: str, answer: str, **fields: str) -> Question:
    question, prefix = (
        prompts().text(f"{wording}.{part}", type="number", types="numbers", **fields)
        for part in ("question", "answer_prefix")
    )
    return Question(task, ((f"{question}\n{prefix}", answer),))
