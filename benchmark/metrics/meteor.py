"""METEOR, computed as NLTK's ``single_meteor_score`` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from benchmark.metrics.libraries import optional_library
from benchmark.metrics.wordnet import WordNet

ALPHA, BETA, GAMMA = 0.9, 3, 0.5

_LONGEST_WORD = 200
"""Letters up to which a word is stemmed: the stemmer recurses along a run of the letter y."""


def meteor(prediction: Sequence[str], reference: Sequence[str], wordnet: WordNet) -> float:
    """METEOR of two lists of words, in [0, 1].

    Words match in lower case, what is left by Porter stem, what is left by a synonym of the stem
    (sic: most stems are no words); each from the last word on, with the last free one.  With m
    matches in c chunks (runs adjacent in both texts), precision P = m / |prediction| and recall
    R = m / |reference|, it is (1 - gamma (c/m)^beta) PR / (alpha P + (1 - alpha) R).

    Raises ``UserError`` where NLTK, whose stemmer it takes, is not installed.
    """
    stages: list[tuple[Callable[[str], str], Callable[[str], set[str]]]] = [
        (str.lower, _itself),
        (_stem, _itself),
        (str, lambda stem: {stem, *wordnet.synonyms(stem)}),
    ]
    ours, theirs = dict(enumerate(prediction)), dict(enumerate(reference))
    matches: list[tuple[int, int]] = []
    for transform, alternatives in stages:
        ours = {place: transform(word) for place, word in ours.items()}
        theirs = {place: transform(word) for place, word in theirs.items()}
        matches += _match(ours, theirs, alternatives)
    if not matches:
        return 0.0
    precision, recall = len(matches) / len(prediction), len(matches) / len(reference)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    penalty = GAMMA * (_chunks(sorted(matches)) / len(matches)) ** BETA
    return (1 - penalty) * mean


def _match(
    ours: dict[int, str], theirs: dict[int, str], alternatives: Callable[[str], set[str]]
) -> list[tuple[int, int]]:
    """Pairs of places, which are taken out of both."""
    free: dict[str, list[int]] = {}
    for place, word in theirs.items():
        free.setdefault(word, []).append(place)
    matches = []
    for place, word in reversed(list(ours.items())):
        found = [places[-1] for one in alternatives(word) if (places := free.get(one))]
        if found:
            match = max(found)
            free[theirs.pop(match)].pop()
            del ours[place]
            matches.append((place, match))
    return matches


def _chunks(matches: Sequence[tuple[int, int]]) -> int:
    breaks = pairwise(matches)
    return 1 + sum((i + 1, j + 1) != following for (i, j), following in breaks)


def _itself(word: str) -> set[str]:
    return {word}


def _stem(word: str) -> str:
    return _porter().stem(word) if len(word) <= _LONGEST_WORD else word


@cache
def _porter() -> Any:
    return optional_library("nltk.stem.porter", "METEOR", "loogle").PorterStemmer()
