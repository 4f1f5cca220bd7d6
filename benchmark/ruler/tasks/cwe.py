"""Common words extraction: find the ten words of a numbered list that occur most often."""

from __future__ import annotations

from dataclasses import replace

from benchmark.ruler.sampling import SampleRandom
from benchmark.ruler.tasks.base import Material, Plan, Prompt, solved

COMMON_WORDS = 10


def common_words_extraction(material: Material, random: SampleRandom) -> Plan:
    """Plan of one sample; its size is the number of distinct words.

    Beyond the vocabulary, fewer words that are repeated more often take the place of more words.
    With ``one_shot`` a solved example comes first.
    """
    example = _example(material, random) if material.one_shot else ""
    vocabulary = material.lexicon.common_words
    words = random.stream("words").sample(vocabulary, len(vocabulary))
    often, seldom = repetitions(material.length)

    def build(size: int) -> Prompt:
        factor = -(-size // len(words))
        chosen = words[: size // factor]
        entries = random.shuffled(_repeat(chosen, often * factor, seldom * factor))
        prompt = _prompt(material, entries, words)
        return replace(prompt, context=example + prompt.context)

    return Plan(build, smallest=COMMON_WORDS + 1)


def repetitions(length: int) -> tuple[int, int]:
    """How often a common and another word stand in a list, by length in tokens.

    As RULER has it (30 and 3, below 4096 tokens 6 and 1); lists shorter than 1024 tokens repeat
    less, because they would not fit.
    """
    if length >= 4096:
        return 30, 3
    if length >= 1024:
        return 6, 1
    return (3, 1) if length >= 512 else (2, 1)


def _repeat(words: list[str], often: int, seldom: int) -> list[str]:
    return words[:COMMON_WORDS] * often + words[COMMON_WORDS:] * seldom


def _prompt(material: Material, entries: list[str], words: list[str]) -> Prompt:
    prompts, common = material.prompts, words[:COMMON_WORDS]
    return Prompt(
        context=prompts.text("cwe.context", words=_numbered(material, entries)),
        question=prompts.text("cwe.question"),
        answer_prefix=prompts.text("cwe.answer_prefix"),
        answers=tuple(common),
        answer_text=_numbered(material, common),
    )


def _numbered(material: Material, words: list[str]) -> str:
    return " ".join(
        material.prompts.text("cwe.entry", number=number, word=word)
        for number, word in enumerate(words, start=1)
    )


def _example(material: Material, random: SampleRandom) -> str:
    """RULER's example: 40 words, 10 and 3 times; below 4096 tokens 20 words, 3 times and once."""
    size, often, seldom = (40, 10, 3) if material.length >= 4096 else (20, 3, 1)
    rng = random.stream("example")
    vocabulary = material.lexicon.common_words
    words = rng.sample(vocabulary, min(size, len(vocabulary)))
    entries = _repeat(words, often, seldom)
    rng.shuffle(entries)
    return solved(_prompt(material, entries, words), "cwe", material.prompts)
