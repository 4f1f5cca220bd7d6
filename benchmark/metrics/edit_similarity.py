"""Edit similarity: how alike two strings are, in whole percent.

Source: ``fuzzywuzzy.fuzz.ratio``, whose value depends on whether python-Levenshtein is installed;
so the backend is named here.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Literal

from benchmark.metrics.lcs import lcs_length

Backend = Literal["difflib", "indel"]
"""``difflib``: matching blocks, what fuzzywuzzy uses by itself; not symmetric, and blind for common
characters where the reference has 200 characters or more.  ``indel``: 2 LCS / (|a| + |b|), what it
uses with python-Levenshtein, and what thefuzz and RapidFuzz use."""


def edit_similarity(prediction: str, reference: str, backend: Backend = "difflib") -> float:
    """Similarity in [0, 1], rounded to whole percent as upstream; 1 for equal strings.

    difflib's exact search takes about |prediction| x |reference| steps in bad cases; a prediction
    so long that the result is 0 by its length alone is not searched.
    """
    if prediction == reference:
        return 1.0
    total = len(prediction) + len(reference)
    if round(100 * (2 * min(len(prediction), len(reference)) / total)) == 0:
        return 0.0
    if backend == "indel":
        ratio = 2 * lcs_length(reference, prediction) / total
    else:
        ratio = SequenceMatcher(None, prediction, reference).ratio()
    return round(100 * ratio) / 100
