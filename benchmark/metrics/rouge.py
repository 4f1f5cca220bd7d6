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


def by_word(sentences: Iterable[Sequence[str]]) -> dict[str, list[tuple[str, ...]]]:
    """The distinct sentences, in order, in which each word stands."""
    index: dict[str, list[tuple[str, ...]]] = {}
    for sentence in dict.fromkeys(map(tuple, sentences)):
        for word in dict.fromkeys(sentence):
            index.setdefault(word, []).append(sentence)
    return index
