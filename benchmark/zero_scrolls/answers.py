"""What ZeroSCROLLS reads out of an answer: a letter, a percentage, an order."""

from __future__ import annotations

import re
from itertools import combinations

from sparse_attention.errors import UserError

_LETTER = re.compile(r"\b[A-D]\b")
_NOT_ORDER = re.compile(r"[^0-9\s,]")


def choice(text: str) -> str | None:
    """The first of the letters A to D that stands alone."""
    found = _LETTER.search(text)
    return found[0] if found else None


def percentage(text: str) -> float | None:
    r"""The first number with a percent sign: what ``\d+\.?\d*%`` finds first.

    Searched from the percent signs backwards, because that expression takes time cubic in the
    length of a run of digits.
    """
    for piece in text.split("%")[:-1]:
        start = _digits_start(piece, len(piece))
        if start and piece[start - 1] == ".":
            whole = _digits_start(piece, start - 1)
            start = whole if whole < start - 1 else start
        if start < len(piece):
            return float(piece[start:])
    return None


def exponential_similarity(prediction: str, reference: str) -> float:
    """``0.5 ** (|p - r| / 10)`` of the two percentages; 0 where the prediction has none.

    Raises ``UserError`` for a reference without one.
    """
    expected = percentage(reference)
    if expected is None:
        raise UserError(f"the reference {reference!r} of space_digest has no percentage.")
    given = percentage(prediction)
    return 0.0 if given is None else 0.5 ** (abs(expected - given) / 10)


def order(text: str) -> list[int]:
    """The numbers of a text of which all but digits, whitespace and commas is deleted.

    Empty where a number is longer than Python converts.
    """
    try:
        return [int(word) for word in _NOT_ORDER.sub("", text).replace(",", " ").split()]
    except ValueError:
        return []


def concordance(prediction: str, reference: str) -> float:
    """Share of the pairs that both texts give in the same order; 0 unless the numbers are the same.

    Numbers that occur several times make no pairs with themselves.
    """
    ours, theirs = order(prediction), order(reference)
    if len(ours) != len(theirs) or sorted(ours) != sorted(theirs):
        return 0.0
    place = {number: at for at, number in enumerate(ours)}
    pairs = list(combinations(dict.fromkeys(theirs), 2))
    if not pairs:
        return 1.0
    return sum(place[first] < place[second] for first, second in pairs) / len(pairs)


def _digits_start(text: str, end: int) -> int:
    while end and text[end - 1].isdecimal():
        end -= 1
    return end
