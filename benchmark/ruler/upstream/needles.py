"""niah as upstream draws it; see ``drafts`` for the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from benchmark.ruler.sentences import split_sentences
from benchmark.ruler.tasks.niah import DEPTHS
from benchmark.ruler.upstream.checkout import Wording
from benchmark.ruler.upstream.drafts import LONG, Chance, Draft, Draws, Setting
from benchmark.ruler.upstream.words import pairs

Kind = Literal["words", "numbers", "uuids"]


@dataclass(frozen=True)
class Facts:
    """How many keys there are, values of each, keys that are asked for, and their kinds."""

    keys: int = 1
    values: int = 1
    queries: int = 1
    key_kind: Kind = "words"
    value_kind: Kind = "numbers"


class Needles(Draws):
    """Facts hidden among lines, or in prose."""

    def __init__(
        self,
        setting: Setting,
        chance: Chance,
        facts: Facts,
        wording: Wording,
        needle: str,
        hay: str | Sequence[str] | None,
    ) -> None:
        """``hay`` is a line of noise, the words of prose, or None for facts nobody asks for."""
        short = 5 if setting.length < LONG else 25
        super().__init__(setting, chance, short if hay is None or isinstance(hay, str) else 500)
        self._facts, self._wording, self._needle, self._hay = facts, wording, needle, hay

    def draft(self, size: int, index: int = 0) -> Draft:
        """``size`` counts lines or words."""
        facts = self._facts
        keys: list[str] = []
        values: list[list[str]] = []
        needles: list[str] = []
        for _ in range(facts.keys):
            keys.append(self._draw(facts.key_kind))
            values.append([])
            for _ in range(facts.values):
                values[-1].append(self._draw(facts.value_kind))
                needles.append(self._fact(keys[-1], values[-1][-1]))
        self.chance.shuffle(needles)
        context = self._hide(needles, size)
        asked = self.chance.random.sample(range(facts.keys), facts.queries)
        names = [keys[place] for place in asked]
        query = f"{', '.join(names[:-1])}, and {names[-1]}" if len(names) > 1 else names[0]
        one = facts.queries * facts.values == 1
        kind = facts.value_kind[:-1] if one else facts.value_kind
        before, question, prefix = (
            (_singular(text) if one else text).format(
                context=context, query=query, type_needle_v=kind
            )
            for text in (self._wording.before, self._wording.question, self._wording.prefix)
        )
        answers = tuple(value for place in asked for value in values[place])
        return Draft(before, question, prefix, answers)

    def _draw(self, kind: Kind) -> str:
        random = self.chance.random
        if kind == "numbers":
            return str(random.randint(10**6, 10**7 - 1))
        if kind == "words":
            return random.choice(pairs())
        return str(UUID(int=random.getrandbits(128), version=4))

    def _fact(self, key: str, value: str) -> str:
        return self._needle.format(type_needle_v=self._facts.value_kind, key=key, value=value)

    def _hide(self, needles: list[str], size: int) -> str:
        if self._hay is not None and not isinstance(self._hay, str):
            return self._in_prose(needles, self._hay, size)
        facts = self._facts
        if self._hay is not None:
            lines = [self._hay] * size
        else:
            lines = [
                self._fact(self._draw(facts.key_kind), self._draw(facts.value_kind))
                for _ in range(size)
            ]
        places = sorted(self.chance.random.sample(range(size), len(needles)), reverse=True)
        for place, needle in zip(places, needles, strict=True):
            lines.insert(place, needle)
        return "\n".join(lines)

    def _in_prose(self, needles: list[str], words: Sequence[str], size: int) -> str:
        laps = -(-size // len(words))
        sentences, _ = split_sentences(" ".join((list(words) * laps)[:size]).strip())
        depths = sorted(self.chance.random.sample(DEPTHS, len(needles)))
        # In this form, because a product with 0.29 is not a quotient by 100.
        cuts = [int(len(sentences) * (depth / 100)) for depth in depths]
        parts = []
        for start, stop, needle in zip([0, *cuts[:-1]], cuts, needles, strict=True):
            parts += [" ".join(sentences[start:stop]), needle]
        return " ".join([*parts, " ".join(sentences[cuts[-1] :])])


def _singular(text: str) -> str:
    """A template that asks for one value, as upstream makes it: by letters, wherever they stand."""
    for plural, singular in (("Some", "A"), ("are all", "is"), ("are", "is")):
        text = text.replace(plural, singular)
    return text.replace("answers", "answer")
