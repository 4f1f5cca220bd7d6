"""Random numbers of one sample."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

Item = TypeVar("Item")
ShuffleMode = Literal["per_sample", "upstream"]


@dataclass(frozen=True)
class SampleRandom:
    """Named streams of random numbers that depend on nothing but the fields here.

    In the mode ``upstream`` a shuffle uses a fresh ``Random(seed)``, so that lists of equal
    length are permuted in the same way in every sample, as RULER does; in the mode
    ``per_sample`` it has a stream of the sample.
    """

    seed: int
    task: str
    length: int
    index: int
    mode: ShuffleMode

    def stream(self, name: str) -> Random:
        """Return the stream ``name``, from its start at each call."""
        # A string seed goes through SHA-512, hence no dependence on hash randomisation.
        return Random(f"{self.seed}/{self.task}/{self.length}/{self.index}/{name}")

    def shuffled(self, items: list[Item]) -> list[Item]:
        """Return a permuted copy of ``items``."""
        rng = Random(self.seed) if self.mode == "upstream" else self.stream("shuffle")
        copy = list(items)
        rng.shuffle(copy)
        return copy
