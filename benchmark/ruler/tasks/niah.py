"""Needle in a haystack: eight tasks that hide key-value sentences in a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from random import Random
from typing import Literal

from benchmark.ruler import lexicon
from benchmark.ruler.sampling import SampleRandom
from benchmark.ruler.tasks.base import Material, Plan, Prompt
from benchmark.ruler.tasks.noise import insert_lines, noise_lines

DEPTHS = tuple(round(100 * step / 39) for step in range(40))
"""Places of needles in prose, in percent of its sentences."""


@dataclass(frozen=True)
class Niah:
    """Generator of one task; the fields are RULER's parameters of it."""

    haystack: Literal["repeat", "essay", "needle"]
    """One noise line again and again, prose, or needles that are not asked for."""
    keys: int = 1
    values: int = 1
    queries: int = 1
    key_type: Literal["words", "uuids"] = "words"
    value_type: Literal["numbers", "uuids"] = "numbers"

    def __call__(self, material: Material, random: SampleRandom) -> Plan:
        """Plan of one sample; its size is in sentences (repeat, essay) or needles (needle).

        All keys of a context differ, as far as the lexicon has so many words; the keys that are
        asked for are unique in any case, and no other needle has one of the answers as its value.
        """
        words = material.lexicon
        rng = random.stream("facts")
        taken: set[str] = set()
        keys = _take(self._keys(words, rng, taken), self.keys)
        numbers = _unused(self._value(words, rng), taken)
        facts = {key: _take(numbers, self.values) for key in keys}
        queried = rng.sample(keys, self.queries)
        answers = tuple(value for key in queried for value in facts[key])

        needle = self._sentence(material)
        needles = random.shuffled([needle(key, value) for key in keys for value in facts[key]])
        surround = self._surroundings(material, random, needle, set(keys) | set(answers))
        wording = self._wording(queried)
        fields = {**self._types(material), "query": _enumerate(queried)}
        prompts = material.prompts

        def build(size: int) -> Prompt:
            haystack, depths = surround(size, needles)
            return Prompt(
                context=prompts.text(f"{wording}.context", haystack=haystack, **fields),
                question=prompts.text(f"{wording}.question", **fields),
                answer_prefix=prompts.text(f"{wording}.answer_prefix", **fields),
                answers=answers,
                answer_text=", ".join((*queried, *answers)),
                extra={"needle_depths": depths},
            )

        return Plan(build)

    def _keys(self, words: lexicon.Lexicon, rng: Random, taken: set[str]) -> Iterator[str]:
        return words.keys(rng, taken) if self.key_type == "words" else lexicon.uuids(rng, taken)

    def _value(self, words: lexicon.Lexicon, rng: Random) -> Iterator[str]:
        if self.value_type == "uuids":
            return lexicon.uuids(rng, set())
        return iter(lambda: words.needle_number(rng), None)

    def _types(self, material: Material) -> dict[str, str]:
        return {
            form: material.prompts.text(f"value_types.{self.value_type}.{form}")
            for form in ("type", "types")
        }

    def _sentence(self, material: Material) -> Callable[[str, str], str]:
        types = self._types(material)
        return lambda key, value: material.prompts.text(
            "niah.needle", key=key, value=value, **types
        )

    def _wording(self, queried: list[str]) -> str:
        if len(queried) > 1:
            return "niah.multiquery"
        return "niah.multivalue" if self.values > 1 else "niah.single"

    def _surroundings(
        self,
        material: Material,
        random: SampleRandom,
        needle: Callable[[str, str], str],
        taken: set[str],
    ) -> Callable[[int, list[str]], tuple[str, list[float]]]:
        """Return a function that puts needles into a haystack of a size and tells their depths."""
        if self.haystack == "essay":
            if material.haystack is None:
                raise ValueError(f"{random.task} needs a haystack")
            read = material.haystack.reader(random.stream("haystack"))
            return lambda size, needles: _insert_in_prose(
                read(size), needles, random.stream("depths")
            )

        joiner = material.prompts.text("niah.line_joiner")
        if self.haystack == "repeat":
            noise = material.prompts.text("noise")

            def lines(size: int, needles: int) -> list[str]:
                return noise_lines(noise, size, at_least=needles)

        else:
            rng = random.stream("haystack")
            keys = self._keys(material.lexicon, rng, taken)
            values = _unused(self._value(material.lexicon, rng), taken)
            distractors: list[str] = []

            def lines(size: int, needles: int) -> list[str]:
                while len(distractors) < size:
                    distractors.append(needle(next(keys), next(values)))
                return distractors[:size]

        def insert(size: int, needles: list[str]) -> tuple[str, list[float]]:
            # RULER inserts from the highest place down: the first needle ends up last.
            text, depths = insert_lines(
                lines(size, len(needles)), needles[::-1], random.stream("depths")
            )
            return joiner.join(text), depths

        return insert


def _insert_in_prose(
    sentences: list[str], needles: list[str], rng: Random
) -> tuple[str, list[float]]:
    depths = sorted(rng.sample(DEPTHS, len(needles)))
    before: dict[int, list[str]] = {}
    for needle, depth in zip(needles, depths, strict=True):
        before.setdefault(len(sentences) * depth // 100, []).append(needle)
    ends = (*sentences, None)
    text = chain.from_iterable(
        (*before.get(place, ()), *(() if sentence is None else (sentence,)))
        for place, sentence in enumerate(ends)
    )
    return " ".join(text), [float(depth) for depth in depths]


def _enumerate(words: list[str]) -> str:
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])}, and {words[-1]}"


def _take(source: Iterator[str], count: int) -> list[str]:
    return [next(source) for _ in range(count)]


def _unused(source: Iterator[str], taken: set[str]) -> Iterator[str]:
    """Return the words of ``source`` that are not in ``taken``."""
    return (word for word in source if word not in taken)
