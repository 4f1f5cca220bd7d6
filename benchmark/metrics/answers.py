"""Scores of short answers: numbers and classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"\d+")


def number_share(prediction: str, reference: str) -> float:
    """Share of the numbers of a prediction that are, digit by digit, the reference; 0 for none.

    Source: LongBench, ``count_score`` and ``retrieval_score``.
    """
    numbers = _NUMBER.findall(prediction)
    return numbers.count(reference) / len(numbers) if numbers else 0.0


def class_share(prediction: str, reference: str, classes: Sequence[str]) -> float:
    """One over the number of classes that a prediction names, if the reference is one; else 0.

    A class that is a part of the reference's name does not count; but, as upstream deletes from
    the list that it walks along, the class that follows a deleted one is not looked at.
    Source: LongBench, ``classification_score``.
    """
    named = [name for name in classes if name in prediction]
    place = 0
    while place < len(named):
        if named[place] in reference and named[place] != reference:
            del named[place]
        place += 1
    return 1 / len(named) if reference in named else 0.0
