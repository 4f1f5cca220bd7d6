"""Samples of a task from upstream's draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmark.ruler.length import Encoder, TokenCounter
from benchmark.ruler.qa_data import QuestionSet
from benchmark.ruler.tasks import Task
from benchmark.ruler.tasks.niah import Niah
from benchmark.ruler.upstream.chains import ChainAfterExample
from benchmark.ruler.upstream.checkout import Checkout
from benchmark.ruler.upstream.drafts import Chance, Draws, Setting
from benchmark.ruler.upstream.lists import CommonWords, FrequentWords
from benchmark.ruler.upstream.needles import Facts, Needles
from benchmark.ruler.upstream.questions import Questions
from benchmark.suite.base import Sample


@dataclass(frozen=True)
class Upstream:
    """What upstream's programs are called with, and their data, which is read when it is needed."""

    checkout: Checkout
    length: int
    """Tokens of prompt and answer together."""
    samples: int
    seed: int
    essay: Callable[[], Sequence[str]]
    """Words of the prose."""
    questions: Callable[[Task], QuestionSet]
    common_words: Callable[[], Sequence[str]]
    """Words of lists, sorted."""


def generate_upstream(task: Task, upstream: Upstream, tokenizer: Encoder) -> list[Sample]:
    """The first samples of ``task`` that upstream makes.

    They are equal to what upstream writes for the same tokenizer, seed, number and files, without a
    model's template: the question is what follows the context, and the parts join without a space.
    Each sample depends on those before it, as random numbers of one stream do.  Raises
    ``UserError`` for a length that upstream cannot fill.
    """
    new_tokens = upstream.checkout.wording(task.wording).new_tokens
    setting = Setting(upstream.length, TokenCounter(tokenizer), new_tokens)
    draws = _draws(task, upstream, setting, Chance(upstream.seed))
    return [
        Sample(
            id=f"{task.name}-{upstream.length}-{index:04d}",
            context=draft.context,
            question=draft.question,
            answer_prefix=draft.prefix,
            answers=draft.answers,
            max_new_tokens=new_tokens,
            task=task.name,
            extra={"length_tokens": setting.tokens(draft)},
        )
        for index, draft in enumerate(draws.drafts(upstream.samples, task.name))
    ]


def _draws(task: Task, upstream: Upstream, setting: Setting, chance: Chance) -> Draws:
    checkout = upstream.checkout
    wording = checkout.wording(task.wording)
    if isinstance(task.generator, Niah):
        niah = task.generator
        facts = Facts(niah.keys, niah.values, niah.queries, niah.key_type, niah.value_type)
        if niah.haystack == "essay":
            return Needles(setting, chance, facts, wording, checkout.needle, upstream.essay())
        noise = checkout.noise if niah.haystack == "repeat" else None
        return Needles(setting, chance, facts, wording, checkout.needle, noise)
    if task.name == "vt":
        return ChainAfterExample(setting, chance, wording, checkout.chain_noise)
    if task.name == "cwe":
        words = upstream.common_words()
        return CommonWords(setting, chance, wording, words, lambda: checkout.english_words)
    if task.name == "fwe":
        return FrequentWords(setting, chance, wording)
    return Questions(
        setting,
        chance,
        wording,
        checkout.document,
        upstream.questions(task),
        whole_article=task.name == "qa_2",
    )
