"""A uniform sample of the keys."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from ..attention_call import AttentionCall
from ..search import Choices
from ..selection import Selection
from .base import Masker
from .sampling import Residual, log_inverse_share


class RandomSampling(Masker):
    """Read a uniform sample of the keys that are not read yet, weighted by 1 / probability.

    Of n residual keys, ``b = min(n, max(1, floor(sampling_rate * visible)))`` are drawn without
    replacement, independently for every query and head, each with weight n / b (Horvitz and
    Thompson, 1952).  Numerator and denominator of attention are unbiased; the variance of the
    estimated sum of terms t_i is ``n^2 / b * (1 - b / n) * S^2`` with S^2 the variance of t
    (Cochran, Sampling Techniques, 1977).  High where few keys dominate: use it after methods that
    read those.  Costs one random number per key.
    """

    name = "random_sampling"
    samples = True
    stacked = frozenset({"sampling_rate"})

    sampling_rate: Annotated[
        float, Field(gt=0, le=1), Choices(0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2)
    ] = 0.05
    seed: int = 42

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """The sample with its weights."""
        residual = Residual.of(call, prior, self.seed)
        count = torch.minimum(call.resolve(self, "sampling_rate"), residual.size)
        weight = log_inverse_share(count, residual.size)
        return Selection(residual.first(count), weight * residual.left)
