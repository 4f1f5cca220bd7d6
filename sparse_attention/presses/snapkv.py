"""What the last queries of the context attend to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, field_validator

from sparse_attention.cache.statistics import StatisticsRequest
from sparse_attention.method import Choices
from sparse_attention.presses.base import PressCall, Ranking, Scorer, window_attention

if TYPE_CHECKING:
    from torch import Tensor


class SnapKV(Scorer):
    """Keep the keys that the last queries of the context attend to, and those queries' own.

    With the attention A of the last w queries, of which each sees the keys up to its own:

    - ``a_i = mean over the w queries of A[., i]`` for keys before the window, per query head,
    - smoothed by a mean over ``kernel_size`` neighbours (zeros beyond the ends count),
    - ``score_i = mean over the group``.

    The w keys of the window stay.  If fewer keys are kept than that, or the context is no longer
    than the window, the newest ones stay.

    Cost: the last w queries are kept from the prefill and multiplied with all keys once.

    Fails where the question is not known yet: what the end of the context is about need not be what
    is asked.

    Source: Li et al., SnapKV: LLM Knows What You are Looking for Before Generation (2024).
    """

    name = "snapkv"

    observation_window: Annotated[int, Field(ge=1), Choices(8, 16, 32, 64)] = 64
    """Queries w that vote."""
    kernel_size: Annotated[int, Field(ge=1), Choices(1, 3, 5, 7)] = 5
    """Odd number of neighbouring keys whose scores are averaged."""

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd, so that the neighbourhood is centred")
        return value

    @property
    def needs(self) -> StatisticsRequest:
        """The last queries."""
        return StatisticsRequest(last_queries=self.observation_window)

    def rank(self, call: PressCall) -> Ranking:
        """Smoothed votes, and the window by age."""
        in_window = call.positions >= call.length - self.observation_window
        votes = self._votes(call).masked_fill(in_window[:, None], 0.0)
        smooth = torch.nn.functional.avg_pool1d(votes, self.kernel_size, 1, self.kernel_size // 2)
        scores = smooth.mean(1).where(~in_window, call.positions.float())
        return self.ranking(call, scores, in_window)

    def _votes(self, call: PressCall) -> Tensor:
        """(H, G, n)."""
        return window_attention(call, self.observation_window).mean(2)
