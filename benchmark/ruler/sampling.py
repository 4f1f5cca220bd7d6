"""Random numbers of one sample."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class SampleRandom:
    """Named streams of random numbers that depend on nothing but the fields here."""

    seed: int
    task: str
    length: int
    index: int

    def stream(self, name: str) -> Random:
        """Return the stream ``name``, from its start at each call."""
        # A string seed goes through SHA-512, hence no dependence on hash randomisation.
        return Random(f"{self.seed}/{self.task}/{self.length}/{self.index}/{name}")

    def shuffled(self, items: list[Item]) -> list[Item]:
        """Return a permuted copy of ``items``."""
        copy = list(items)
        self.stream("shuffle").shuffle(copy)
        return copy
