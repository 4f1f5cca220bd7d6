"""Counting tokens and finding the largest sample that fits a length."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Count = Callable[[str], int]
"""Number of tokens of a text."""

_REMEMBERED_CHARACTERS = 2_000
_MAX_STEPS = 64


class Encoder(Protocol):
    """What a tokenizer must be able to do."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of ``text``."""


class TokenCounter:
    """Number of tokens of a text, without special tokens; short texts are counted once."""

    def __init__(self, tokenizer: Encoder) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """Tokens of ``text``."""
        count = self._known.get(text)
        if count is None:
            count = len(self._tokenizer.encode(text, add_special_tokens=False))
            if len(text) <= _REMEMBERED_CHARACTERS:
                self._known[text] = count
        return count


@dataclass(frozen=True)
class Fit:
    """Result of the search: a size and its cost."""

    size: int
    cost: int
    exhausted: bool
    """Whether ``size`` is the largest that exists, not the largest that fits."""


class TooLargeError(Exception):
    """Even the smallest size costs too much; ``cost`` says how much."""

    def __init__(self, cost: int) -> None:
        super().__init__(f"the smallest size costs {cost}")
        self.cost = cost


def largest_size(
    cost: Callable[[int], int], budget: int, *, smallest: int, largest: int | None = None
) -> Fit:
    """Return the largest size whose cost is within ``budget``.

    ``cost`` must grow roughly linearly with the size, as token counts do.  The search doubles,
    then interpolates with bisection as a guard, and ends when the room left is less than the
    mean cost of one more unit.  Raises ``TooLargeError`` where ``smallest`` does not fit.
    """
    low, low_cost = smallest, cost(smallest)
    if low_cost > budget:
        raise TooLargeError(low_cost)
    high: tuple[int, int] | None = None
    step = max(8, smallest)
    first, first_cost = low, low_cost
    for turn in range(_MAX_STEPS):
        if low == largest:
            return Fit(low, low_cost, exhausted=True)
        if high is not None and high[0] == low + 1:
            break
        unit = (low_cost - first_cost) / (low - first) if low > first else 0.0
        if unit and low_cost + unit > budget:
            break
        if high is None:
            guess = low + math.floor((budget - low_cost) / unit) if unit else low + step
            # The first costs are of small texts; their slope is not trusted beyond a factor.
            size = min(max(guess, low + 1), 16 * (low + step))
            if largest is not None:
                size = min(size, largest)
        else:
            slope = (high[1] - low_cost) / (high[0] - low)
            guess = low + math.floor((budget - low_cost) / slope) if slope > 0 else low + 1
            # Every third turn halves the bracket, whatever the slope says.
            size = (low + high[0]) // 2 if turn % 3 == 2 else guess
            size = min(max(size, low + 1), high[0] - 1)
        size_cost = cost(size)
        if size_cost <= budget:
            low, low_cost = size, size_cost
        else:
            high = (size, size_cost)
    return Fit(low, low_cost, exhausted=False)
