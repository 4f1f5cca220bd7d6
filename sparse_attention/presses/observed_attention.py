"""The attention that each key received in the prefill."""

from __future__ import annotations

from typing import ClassVar

from sparse_attention.cache.statistics import StatisticsRequest
from sparse_attention.presses.base import PressCall, Ranking, Scorer


class ObservedAttention(Scorer):
    """Keep the keys that received the most attention while the context was read.

    With the causal attention A of all T queries, ``score_i = mean over the group of
    sum_q A[q, i] / (T - i)``: the mean over the queries that see the key, because early keys are
    seen by more.

    Cost: the column sums are computed anew beside the model's own attention, a block of queries at
    a time: memory stays linear in the context, the time of the prefill's attention doubles.

    Fails for keys near the end, which are means of very few queries and therefore noisy, and where
    what was read often is not what is asked.

    Source: a one-shot relative of Zhang et al., H2O: Heavy-Hitter Oracle for Efficient Generative
    Inference of Large Language Models (2023), which evicts step by step.
    """

    name = "observed_attention"
    decodes: ClassVar[bool] = False

    @property
    def needs(self) -> StatisticsRequest:
        """Column sums of the attention."""
        return StatisticsRequest(attention_sums=True)

    def rank(self, call: PressCall) -> Ranking:
        """Mean attention per query that sees the key."""
        sums = call.observed.attention_sums
        assert sums is not None
        received = sums.gather(1, call.positions)
        return self.ranking(call, received / (call.length - call.positions))
