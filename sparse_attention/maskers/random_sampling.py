"""A uniform sample of the keys."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.selection import Selection
from sparse_attention.maskers.base import Masker
from sparse_attention.maskers.sampling import Residual
from sparse_attention.method import Choices


class RandomSampling(Masker):
    """Read a uniform sample of the keys that are not read yet, weighted by 1 / probability.

    Of n residual keys, ``b = min(n, max(1, floor(sampling_rate * visible)))`` are drawn without
    replacement, independently for every query and head, each with weight n / b.  No key is drawn
    that is read anyway, and none twice.  Numerator and denominator of attention are unbiased; the
    variance of the estimated sum of terms t_i is ``n^2 / b * (1 - b / n) * S^2`` with S^2 the
    variance of t.

    Cost: nothing is read to choose; one random number per key.

    Fails where few keys dominate, because most samples miss them and a few count them much too
    highly: use it after methods that read those.

    Source: Horvitz and Thompson, A Generalization of Sampling Without Replacement From a Finite
    Universe (1952); the variance from Cochran, Sampling Techniques (1977).
    """

    name = "random_sampling"
    samples = True
    stacked = frozenset({"sampling_rate"})

    sampling_rate: Annotated[
        float, Field(gt=0, le=1), Choices(0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2)
    ] = 0.05
    """Share of the keys to draw."""
    seed: int = 42
    """Of the random numbers, with sample, layer and position."""

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """The sample with its weights."""
        residual = Residual.of(call, prior, self.seed)
        count = call.resolve(self, "sampling_rate")
        if residual.compact is None:
            count = call.on_device(count)
        return residual.sample(torch.minimum(count, residual.size))
