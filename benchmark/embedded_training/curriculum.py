"""Which sequence length each training step has."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

LENGTHS = (48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096)
EARLIER_SHARE = 0.4
"""Share of the batches that have an earlier length than the current one."""
LONGEST_SHARE = 0.1
"""Share of the batches that have the last of ``LENGTHS``, which cost most."""
ADVANCE_ACCURACY = 0.95
MIN_STEPS, MAX_STEPS = 60, 200
"""Steps of the current length until the next one starts, at least and at most."""


@dataclass
class Curriculum:
    """The current length; it grows when the running accuracy is high or time is up."""

    max_length: int
    level: int = 0
    steps: int = 0
    accuracy: float = 0.0

    @property
    def length(self) -> int:
        """The longest length in use."""
        return LENGTHS[self.level]

    def draw(self, rng: Random) -> int:
        """Length of the next batch."""
        last = self.length == LENGTHS[-1]
        if last and rng.random() >= LONGEST_SHARE:
            return self._draw(self.level - 1, rng)
        return self.length if last else self._draw(self.level, rng)

    def _draw(self, level: int, rng: Random) -> int:
        if level and rng.random() < EARLIER_SHARE:
            return LENGTHS[rng.randrange(level)]
        return LENGTHS[level]

    def update(self, length: int, accuracy: float) -> None:
        """Count a step of ``length`` tokens with the given share of correct answer tokens."""
        if length != self.length:
            return
        self.steps += 1
        self.accuracy += 0.04 * (accuracy - self.accuracy)
        if self.level + 1 == len(LENGTHS) or LENGTHS[self.level + 1] > self.max_length:
            return
        ready = self.accuracy > ADVANCE_ACCURACY and self.steps >= MIN_STEPS
        if ready or self.steps >= MAX_STEPS:
            self.level, self.steps, self.accuracy = self.level + 1, 0, self.accuracy - 0.1
