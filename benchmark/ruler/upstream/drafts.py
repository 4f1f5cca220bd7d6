"""What all of upstream's generators share: how big a prompt gets, and drawing until one fits.

Source: NVIDIA/RULER, ``scripts/data/synthetic``, revision c3f5e3b of 2026-07-22.  The order in
which random numbers are drawn is a fact of it that equal samples need, sizes that are drawn only
to be measured with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import numpy as np

from benchmark.ruler.length import Count
from sparse_attention.errors import UserError

_ATTEMPTS = 1_000
"""Draws of one sample before it is given up; upstream goes on for ever."""

LONG = 4096
"""From this length on examples are longer, words repeat more and sizes go down in larger steps."""


@dataclass(frozen=True)
class Draft:
    """A prompt in three parts, which upstream joins, and its answers."""

    context: str
    question: str
    prefix: str
    answers: tuple[str, ...]

    @property
    def text(self) -> str:
        """What upstream counts."""
        return self.context + self.question + self.prefix


@dataclass(frozen=True)
class Setting:
    """What the samples of a task are drawn for."""

    length: int
    """Tokens of prompt and answer together."""
    count: Count
    new_tokens: int

    def tokens(self, draft: Draft) -> int:
        """Tokens of a prompt and its answer."""
        return self.count(draft.text) + self.new_tokens


class Chance:
    """Upstream's two random number generators, each from its start."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.numbers = np.random.RandomState(seed)

    def shuffle(self, items: list[str]) -> None:
        """As upstream shuffles: lists of equal length get the same permutation."""
        Random(self.seed).shuffle(items)


class Draws(ABC):
    """The generator of a task: each draft moves its random numbers on."""

    def __init__(self, setting: Setting, chance: Chance, step: int) -> None:
        """``step`` is the smallest size, and by how much the next attempt is smaller."""
        self.setting, self.chance, self.step = setting, chance, step

    @abstractmethod
    def draft(self, size: int, index: int = 0) -> Draft:
        """Draw a prompt of a size; ``ValueError`` where its parts do not fit into the size."""

    def final(self, size: int, index: int) -> Draft:
        """Draw the prompt of sample ``index``."""
        return self.draft(size, index)

    def tokens(self, draft: Draft) -> int:
        """Tokens of what the search for a size measures."""
        return self.setting.tokens(draft)

    def bound(self) -> int:
        """A size that is too large, from one that is drawn to be measured."""
        unit = self.setting.count(self.draft(self.step).text) / self.step
        return int((self.setting.length / unit) * 3)

    def drafts(self, samples: int, name: str) -> list[Draft]:
        """The prompts of all samples, each drawn again, at a smaller size, until it fits.

        Raises ``UserError`` for a length into which a sample does not fit even so.
        """
        try:
            size = self._largest()
        except ValueError as error:
            raise UserError(
                f"{name} cannot be drawn with the seed {self.chance.seed} and length "
                f"{self.setting.length} as upstream draws it ({error}); choose others."
            ) from error
        return [self._fitting(index, size, name) for index in range(samples)]

    def _largest(self) -> int:
        """The size at which a bisection ends, or the smallest where none fits."""
        low, high = self.step, max(self.bound(), 2 * self.step)
        found = low
        while low <= high:
            middle = (low + high) // 2
            if self.tokens(self.draft(middle)) <= self.setting.length:
                found, low = middle, middle + 1
            else:
                high = middle - 1
        return found

    def _fitting(self, index: int, size: int, name: str) -> Draft:
        shortest: int | None = None
        for _ in range(_ATTEMPTS):
            with suppress(ValueError):
                draft = self.final(size, index)
                tokens = self.setting.tokens(draft)
                if tokens <= self.setting.length:
                    return draft
                shortest = min(tokens, shortest or tokens)
            if size > self.step:
                size -= self.step
        needed = "has no size" if shortest is None else f"needs at least {shortest} tokens"
        raise UserError(
            f"{name} does not fit length {self.setting.length} as upstream draws it: sample "
            f"{index} {needed} with this tokenizer. Choose a larger length."
        )
