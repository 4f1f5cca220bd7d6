"""Frequent words extraction: the three most frequent words of a list with Zipf's frequencies."""

from __future__ import annotations

import math

from benchmark.ruler.sampling import SampleRandom
from benchmark.ruler.tasks.base import Material, Plan, Prompt

ASKED = 3
# With fewer words in all, the last asked word would not occur: n / (zeta(2) * 4^2) < 1.
_SMALLEST = 27


def frequent_words_extraction(material: Material, random: SampleRandom) -> Plan:
    """Plan of one sample; its size is the nominal number of words, n.

    The word of rank k occurs int(n * k^-2 / zeta(2)) times; rank 1 is no word but the blank of
    the wording, and ranks 2 to 4 are asked for.  No other word occurs as often as these, which
    lists below about 75 words need to be told.
    """
    blank = material.prompts.text("fwe.blank")
    vocabulary = max(ASKED + 2, material.length // 50)
    words = [blank, *material.lexicon.list_words(random.stream("words"), vocabulary - 1)]

    def build(size: int) -> Prompt:
        entries = random.shuffled(
            [
                word
                for word, count in zip(words, counts(size, len(words)), strict=True)
                for _ in range(count)
            ]
        )
        prompts = material.prompts
        return Prompt(
            context=prompts.text("fwe.context", words=" ".join(entries)),
            question=prompts.text("fwe.question"),
            answer_prefix=prompts.text("fwe.answer_prefix"),
            answers=tuple(words[1 : 1 + ASKED]),
        )

    return Plan(build, smallest=_SMALLEST)


def counts(size: int, words: int) -> list[int]:
    """How often each of ``words`` ranks occurs in a list of nominally ``size`` entries."""
    zeta = math.pi**2 / 6
    ranked = [int(size * rank**-2 / zeta) for rank in range(1, words + 1)]
    limit = ranked[ASKED] - 1
    return ranked[: ASKED + 1] + [min(count, limit) for count in ranked[ASKED + 1 :]]
