"""ROUGE as the PyPI package ``rouge`` 1.0.1 computes it, for LongBench and LooGLE.

It differs from other ROUGE in that words are case-sensitive with their punctuation, n-grams and
words count once, however often they occur, and ROUGE-L takes the union of subsequences over all
pairs of sentences.  The package itself walks each subsequence by recursion and so fails for
sentences of about 1000 words; here there is no such limit, nor a table of words by words.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.metrics.lcs import lcs_path
from benchmark.metrics.rouge import RougeScore, SentenceIndex, ngrams

_NOTHING = RougeScore(0.0, 0.0, 0.0)


def rouge_n(prediction: str, reference: str, n: int) -> RougeScore:
    """ROUGE-n over the sets of n-grams, which may cross the ends of sentences.

    0 where a text has no word.  (The package raises an error there, which its users turn into 0.)
    """
    ours, theirs = _sentences(prediction), _sentences(reference)
    if not ours or not theirs:
        return _NOTHING
    ours_n, theirs_n = (set(ngrams(_words(text), n)) for text in (ours, theirs))
    return _score(len(ours_n & theirs_n), len(ours_n), len(theirs_n))


def rouge_l(prediction: str, reference: str) -> RougeScore:
    """Summary-level ROUGE-L over sets of words.

    The overlap is the number of distinct words that lie on the path of a longest common
    subsequence (``lcs_path``) of some sentence of the reference with some of the prediction.
    0 where a text has no word.
    """
    ours, theirs = _sentences(prediction), _sentences(reference)
    if not ours or not theirs:
        return _NOTHING
    # Words that the reference lacks are never on a path and do not change its choice.
    vocabulary = set(_words(theirs))
    shared = SentenceIndex([word for word in sentence if word in vocabulary] for sentence in ours)
    overlap: set[str] = set()
    for sentence in theirs:
        overlap |= _on_paths(sentence, shared, overlap)
    return _score(len(overlap), len(set(_words(ours))), len(vocabulary))


def _on_paths(reference: Sequence[str], predicted: SentenceIndex, known: set[str]) -> set[str]:
    """Words of the reference on a path with some sentence, but for ``known`` ones."""
    found: set[str] = set()
    done: set[int] = set()
    for word in reference:
        for number in predicted.having(word):
            if word in known or word in found:
                break
            if number not in done:
                done.add(number)
                path = lcs_path(reference, predicted.sentences[number])
                found.update(reference[place] for place, _ in path)
    return found


def _sentences(text: str) -> list[list[str]]:
    # A piece of whitespace alone becomes a sentence of one empty word, which counts as a word.
    return [" ".join(piece.split()).split(" ") for piece in text.split(".") if piece]


def _words(sentences: Sequence[Sequence[str]]) -> list[str]:
    return [word for sentence in sentences for word in sentence]


def _score(overlap: int, predicted: int, reference: int) -> RougeScore:
    precision = overlap / predicted if predicted else 0.0
    recall = overlap / reference if reference else 0.0
    return RougeScore(precision, recall, 2 * (precision * recall / (precision + recall + 1e-8)))
