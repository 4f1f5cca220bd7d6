"""vt as upstream draws it; see ``drafts`` for the source."""

from __future__ import annotations

import string
from dataclasses import replace
from itertools import pairwise

from benchmark.ruler.tasks.vt import EXAMPLE_TOKENS, HOPS
from benchmark.ruler.upstream.checkout import Wording
from benchmark.ruler.upstream.drafts import LONG, Chance, Draft, Draws, Setting

_LINES = 5
"""Smallest number of lines, and the step, of short samples and of examples."""
_EXAMPLE_VALUE = "12345"


class Chain(Draws):
    """A chain of variables among lines of noise."""

    def __init__(
        self,
        setting: Setting,
        chance: Chance,
        wording: Wording,
        noise: str,
        step: int,
        letters: int,
    ) -> None:
        super().__init__(setting, chance, step)
        self._wording, self._noise, self._letters = wording, noise, letters

    def value(self) -> str:
        """What the variables hold."""
        return str(self.chance.numbers.randint(10_000, 99_999))

    def draft(self, size: int, index: int = 0) -> Draft:
        """``size`` counts lines of noise."""
        names = [self.name(self._letters) for _ in range(HOPS + 1)]
        while len(set(names)) <= HOPS:
            names.append(self.name(self._letters))
        value = self.value()
        if len(names) > HOPS + 1:
            self.value()
            raise ValueError("two variables have one name")
        facts = [f"VAR {names[0]} = {value}"]
        facts += [f"VAR {target} = VAR {source} " for source, target in pairwise(names)]
        lines = [self._noise] * size
        places = sorted(self.chance.random.sample(range(size), len(facts)))
        for shift, (place, fact) in enumerate(zip(places, facts, strict=True)):
            lines.insert(place + shift, fact)
        context = "\n".join(lines).replace(". \n", ".\n")
        before, question, prefix = (
            text.format(context=context, query=value, num_v=HOPS + 1)
            for text in (self._wording.before, self._wording.question, self._wording.prefix)
        )
        return Draft(before, question, prefix, tuple(names))

    def name(self, letters: int) -> str:
        """A name of a variable."""
        return "".join(self.chance.random.choices(string.ascii_uppercase, k=letters))


class ExampleChain(Chain):
    """A solved one, whose names and value are drawn anew for each sample."""

    def value(self) -> str:
        """The same always."""
        return _EXAMPLE_VALUE


class ChainAfterExample(Chain):
    """The task."""

    def __init__(self, setting: Setting, chance: Chance, wording: Wording, noise: str) -> None:
        step = _LINES if setting.length < LONG else 2 * _LINES
        super().__init__(setting, chance, wording, noise, step, letters=5)
        short = Setting(EXAMPLE_TOKENS, setting.count, new_tokens=0)
        example = ExampleChain(short, chance, wording, noise, _LINES, letters=3)
        (solved,) = example.drafts(1, "the solved example of vt")
        self._example = f"{solved.text} {' '.join(solved.answers)}\n"
        self._example_tokens = setting.count(self._example)

    def tokens(self, draft: Draft) -> int:
        """With the example, whose own tokens differ from sample to sample."""
        return super().tokens(draft) + self._example_tokens

    def final(self, size: int, index: int) -> Draft:
        """With an example."""
        draft = self.draft(size, index)
        return replace(draft, context=f"{self._renamed()}\n{draft.context}")

    def _renamed(self) -> str:
        example = self._example
        for name in example.split()[-(HOPS + 1) :]:
            # Wherever the letters stand, as upstream.
            example = example.replace(name, self.name(len(name)))
        return example.replace(_EXAMPLE_VALUE, str(self.chance.numbers.randint(10_000, 99_999)))
