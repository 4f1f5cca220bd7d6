"""Samples of a task from upstream's draws."""

from __future__ import annotations

from benchmark.ruler.length import Encoder, TokenCounter
from benchmark.ruler.options import RulerOptions, Sources
from benchmark.ruler.tasks import Task
from benchmark.ruler.tasks.niah import Niah
from benchmark.ruler.upstream.chains import ChainAfterExample
from benchmark.ruler.upstream.checkout import Checkout
from benchmark.ruler.upstream.drafts import Chance, Draws, Setting
from benchmark.ruler.upstream.lists import CommonWords, FrequentWords
from benchmark.ruler.upstream.needles import Facts, Needles
from benchmark.ruler.upstream.questions import Questions
from benchmark.suite.base import Sample


def generate_upstream(
    task: Task, options: RulerOptions, sources: Sources, checkout: Checkout, tokenizer: Encoder
) -> list[Sample]:
    """The first ``options.samples`` samples of ``task`` that upstream makes.

    They are equal to what upstream writes for the same tokenizer, seed, number and files, without a
    model's template: the question is what follows the context, and the parts join without a space.
    Each sample depends on those before it, as random numbers of one stream do.  Raises
    ``UserError`` for a length that upstream cannot fill.
    """
    wording = checkout.wording(task.wording)
    setting = Setting(options.length, TokenCounter(tokenizer), wording.new_tokens)
    draws = _draws(task, sources, checkout, setting, Chance(options.seed))
    return [
        Sample(
            id=f"{task.name}-{options.length}-{index:04d}",
            context=draft.context,
            question=draft.question,
            answer_prefix=draft.prefix,
            answers=draft.answers,
            max_new_tokens=wording.new_tokens,
            task=task.name,
            extra={"length_tokens": setting.tokens(draft)},
        )
        for index, draft in enumerate(draws.drafts(options.samples, task.name))
    ]


def _draws(
    task: Task, sources: Sources, checkout: Checkout, setting: Setting, chance: Chance
) -> Draws:
    wording = checkout.wording(task.wording)
    if isinstance(task.generator, Niah):
        niah = task.generator
        facts = Facts(niah.keys, niah.values, niah.queries, niah.key_type, niah.value_type)
        if niah.haystack == "essay":
            return Needles(setting, chance, facts, wording, checkout.needle, sources.essay[0])
        noise = checkout.noise if niah.haystack == "repeat" else None
        return Needles(setting, chance, facts, wording, checkout.needle, noise)
    if task.name == "vt":
        return ChainAfterExample(setting, chance, wording, checkout.chain_noise)
    if task.name == "cwe":
        words = sources.lexicon.common_words
        return CommonWords(setting, chance, wording, words, lambda: checkout.english_words)
    if task.name == "fwe":
        return FrequentWords(setting, chance, wording)
    return Questions(
        setting,
        chance,
        wording,
        checkout.document,
        sources.questions(task),
        whole_article=task.name == "qa_2",
    )
