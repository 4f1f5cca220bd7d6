"""What the variants of ROUGE share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class RougeScore(NamedTuple):
    """Overlap as a share of the prediction, of the reference, and both in one number."""

    precision: float
    recall: float
    f: float


def ngrams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """All runs of n words, in order."""
    return zip(*(words[start:] for start in range(n)), strict=False)


class SentenceIndex:
    """The distinct sentences of a text, in order, and which of them have a word."""

    def __init__(self, sentences: Iterable[Sequence[str]]) -> None:
        self.sentences = list(dict.fromkeys(map(tuple, sentences)))
        self._having: dict[str, list[int]] = {}
        for number, sentence in enumerate(self.sentences):
            for word in set(sentence):
                self._having.setdefault(word, []).append(number)

    def having(self, word: str) -> Sequence[int]:
        """Numbers of the sentences with a word, ascending."""
        return self._having.get(word, ())
