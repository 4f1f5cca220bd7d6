"""Keys kept at random."""

from __future__ import annotations

import torch

from sparse_attention.numerics.tensors import keyed_generator
from sparse_attention.presses.base import PressCall, Ranking, Scorer


class RandomPress(Scorer):
    """Keep keys at random: the score is uniform in [0, 1), independent for layers and heads.

    The number of a key depends on seed, layer, head and position alone, so that it is the same for
    every question and in every batch.  What any other press must beat.

    Cost: a random number per key and head.

    Fails where an answer needs a certain key: it is lost with the probability of the ratio.

    Source: the baseline of all comparisons; drawn by position here, so that results repeat.
    """

    name = "random_press"

    seed: int = 42
    """Of the random numbers."""

    def rank(self, call: PressCall) -> Ranking:
        """Uniform numbers."""
        numbers = []
        for head in range(call.positions.shape[0]):
            generator = keyed_generator(
                torch.device("cpu"), "random_press", self.seed, call.layer, head
            )
            numbers.append(torch.rand(call.length, generator=generator))
        drawn = torch.stack(numbers).to(call.positions.device)
        return self.ranking(call, drawn.gather(1, call.positions))
