"""cwe and fwe as upstream draws them; see ``drafts`` for the source."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence

import numpy as np

from benchmark.ruler.tasks.cwe import COMMON_WORDS
from benchmark.ruler.tasks.fwe import ASKED
from benchmark.ruler.upstream.checkout import Wording
from benchmark.ruler.upstream.drafts import LONG, Chance, Draft, Draws, Setting
from sparse_attention.errors import UserError

_PROBE = 4096
"""Words of the list that is drawn to be measured."""


class CommonWords(Draws):
    """cwe: a numbered list after a solved example that is new in each sample."""

    def __init__(
        self,
        setting: Setting,
        chance: Chance,
        wording: Wording,
        words: Sequence[str],
        more_words: Callable[[], Sequence[str]],
    ) -> None:
        """``more_words`` are for lists that need more than there are ``words``, sorted."""
        super().__init__(setting, chance, step=10)
        self._wording, self._more_words = wording, more_words
        self._words = list(words)
        chance.shuffle(self._words)

    def bound(self) -> int:
        """As all, of another estimate."""
        unit = self.setting.count(self.draft(_PROBE).text) / _PROBE
        return int(self.setting.length // unit) * 2

    def draft(self, size: int, index: int = 0) -> Draft:
        """``size`` counts the distinct words."""
        short = self.setting.length < LONG
        example = self._list(20, 3, 1) if short else self._list(40, 10, 3)
        asked = self._list(size, 6, 1) if short else self._list(size, 30, 3)
        solved = f"{example.text} {_numbered(example.answers)}"
        return Draft(f"{solved}\n{asked.context}", asked.question, asked.prefix, asked.answers)

    def _list(self, size: int, often: int, seldom: int) -> Draft:
        words = self._words if size <= len(self._words) else self._more_words()
        chosen = self.chance.random.sample(words, size)
        common, others = chosen[:COMMON_WORDS], chosen[COMMON_WORDS:]
        entries = common * often + others * seldom
        self.chance.shuffle(entries)
        before, question, prefix = (
            text.format(num_cw=COMMON_WORDS, context=_numbered(entries), query="")
            for text in (self._wording.before, self._wording.question, self._wording.prefix)
        )
        return Draft(before, question, prefix, tuple(common))


def _numbered(words: Sequence[str]) -> str:
    return " ".join(f"{number}. {word}" for number, word in enumerate(words, start=1))


class FrequentWords(Draws):
    """fwe: coded words as often as Zipf's law has them.

    Upstream has no bisection here: sizes go up from a sixth of the length by a thirty-second, and
    down again for a sample that does not fit.  The answer counts, and also lessens the words.
    """

    def __init__(self, setting: Setting, chance: Chance, wording: Wording) -> None:
        self._room = setting.length - setting.new_tokens
        super().__init__(setting, chance, self._room // 32)
        self._wording = wording

    def drafts(self, samples: int, name: str) -> list[Draft]:
        """All of the size of the first search, or less."""
        vocabulary = self._vocabulary()
        size = self._room // 6
        if self.step < 1 or len(vocabulary) <= ASKED:
            raise UserError(f"{name} needs a length of at least 250; choose a larger one.")
        while self.setting.count(self._draft(vocabulary, size).text) < self._room:
            size += self.step
        size -= self.step
        return [self.draft(size) for _ in range(samples)]

    def draft(self, size: int, index: int = 0) -> Draft:
        """``size`` counts the words, nominally; less of them where they do not fit."""
        vocabulary = self._vocabulary()
        draft = self._draft(vocabulary, size)
        while self.setting.count(draft.text) > self._room and size > 0:
            size -= self.step
            draft = self._draft(vocabulary, size)
        return draft

    def _vocabulary(self) -> list[str]:
        size = self._room // 50
        words = [self._word() for _ in range(size)]
        while len(set(words)) < size:
            words.append(self._word())
        vocabulary = sorted(set(words))
        self.chance.shuffle(vocabulary)
        return ["...", *vocabulary[1:]]

    def _word(self) -> str:
        return "".join(self.chance.random.choices(string.ascii_lowercase, k=6))

    def _draft(self, vocabulary: Sequence[str], size: int) -> Draft:
        # By numpy, whose powers may differ from Python's in the last digit.
        ranks = np.arange(1, len(vocabulary) + 1)
        counts = (size * ranks**-2.0 / (math.pi**2 / 6)).astype(int)
        entries = [
            word for word, count in zip(vocabulary, counts, strict=True) for _ in range(count)
        ]
        self.chance.shuffle(entries)
        before, question, prefix = (
            text.format(context=" ".join(entries), query="")
            for text in (self._wording.before, self._wording.question, self._wording.prefix)
        )
        return Draft(before, question, prefix, tuple(vocabulary[1 : 1 + ASKED]))
