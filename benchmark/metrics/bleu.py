"""BLEU of one sentence with all weight on one length of n-gram."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from benchmark.metrics.rouge import ngrams


def bleu_n(prediction: Sequence[str], reference: Sequence[str], n: int) -> float:
    """Clipped precision of n-grams times the brevity penalty, in [0, 1].

    The penalty is exp(1 - |reference| / |prediction|) for a shorter prediction, else 1.  This is
    NLTK's ``sentence_bleu`` with weight 1 for n and 0 else, without smoothing, but 0 where that
    gives the smallest float because no n-gram matches.
    """
    ours, theirs = Counter(ngrams(prediction, n)), Counter(ngrams(reference, n))
    matches = (ours & theirs).total()
    if not matches:
        return 0.0
    shortness = len(reference) / len(prediction)
    brevity = 1.0 if shortness < 1 else math.exp(1 - shortness)
    # The logarithm does nothing but for the last digit, which is NLTK's with it.
    return brevity * math.exp(math.log(matches / ours.total()))
