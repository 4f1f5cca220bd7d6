"""ROUGE as Google's ``rouge_score`` 0.1.2 computes it without stemming.

ZeroSCROLLS and InfiniteBench use it.  Words are the runs of ``a-z0-9`` of the text in lower case,
so text in other scripts has none.  The package itself fills a table of words by words; here texts
of a megabyte cost seconds and some megabytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from benchmark.metrics.lcs import lcs_length, lcs_path
from benchmark.metrics.overlap import harmonic_mean
from benchmark.metrics.rouge import RougeScore, SentenceIndex, ngrams

_WORD = re.compile("[a-z0-9]+")


def rouge_n(prediction: str, reference: str, n: int) -> RougeScore:
    """ROUGE-n over the multisets of n-grams of the whole texts."""
    ours, theirs = (Counter(ngrams(_words(text), n)) for text in (prediction, reference))
    return _score((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(prediction: str, reference: str) -> RougeScore:
    """ROUGE-L from the longest common subsequence of the whole texts."""
    ours, theirs = _words(prediction), _words(reference)
    return _score(lcs_length(theirs, ours), len(ours), len(theirs))


def rouge_lsum(prediction: str, reference: str) -> RougeScore:
    """Summary-level ROUGE-L; sentences end at newlines only.

    For each sentence of the reference, its words on the path of a longest common subsequence with
    some sentence of the prediction are hits, each as often as both texts have it.
    """
    ours, theirs = _sentences(prediction), _sentences(reference)
    unused_ours = Counter(word for sentence in ours for word in sentence)
    unused_theirs = Counter(word for sentence in theirs for word in sentence)
    predicted, expected = unused_ours.total(), unused_theirs.total()
    shared = SentenceIndex(_with_gaps(sentence, unused_theirs.keys()) for sentence in ours)
    hits = 0
    for sentence in theirs:
        for place in _union_of_paths(sentence, shared):
            word = sentence[place]
            if unused_ours[word] and unused_theirs[word]:
                unused_ours[word] -= 1
                unused_theirs[word] -= 1
                hits += 1
    return _score(hits, predicted, expected)


def _with_gaps(sentence: Sequence[str], vocabulary: Collection[str]) -> list[str]:
    """A sentence with each run of words that are not in the vocabulary as one empty word.

    Such words are never on a path, and several of them change its choice as one does.
    """
    known = [word if word in vocabulary else "" for word in sentence]
    return [word for word, before in zip(known, [None, *known], strict=False) if word or before]


def _union_of_paths(reference: Sequence[str], predicted: SentenceIndex) -> list[int]:
    """Places in the reference on a path with some sentence, ascending."""
    found: set[int] = set()
    done: set[int] = set()
    for place, word in enumerate(reference):
        for number in predicted.having(word):
            if place in found:
                break
            if number not in done:
                done.add(number)
                # The package decides ties the other way round than ``lcs_path`` does; exchanged
                # roles give its choice.
                found.update(place for _, place in lcs_path(predicted.sentences[number], reference))
    return sorted(found)


def _sentences(text: str) -> list[list[str]]:
    # Not splitlines, which knows further separators.
    return [words for line in text.split("\n") if (words := _words(line))]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _score(overlap: int, predicted: int, reference: int) -> RougeScore:
    precision = overlap / max(predicted, 1)
    recall = overlap / max(reference, 1)
    return RougeScore(precision, recall, harmonic_mean(precision, recall))
