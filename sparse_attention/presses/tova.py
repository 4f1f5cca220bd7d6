"""What the last token attends to."""

from __future__ import annotations

from sparse_attention.cache.statistics import StatisticsRequest
from sparse_attention.presses.base import PressCall, Ranking, Scorer, window_attention


class Tova(Scorer):
    """Keep the keys that the last token attends to.

    ``score_i`` is the mean over *all* query heads of the layer of the last query's attention to key
    i, so that every key-value head keeps the same tokens (but for those that earlier presses took
    away).  The last token stays.

    Cost: one query's attention.

    Fails where the last token says little about what comes: a single row of attention is noisy.

    Source: Oren et al., Transformers are Multi-State RNNs (2024).
    """

    name = "tova"

    @property
    def needs(self) -> StatisticsRequest:
        """The last query."""
        return StatisticsRequest(last_queries=1)

    def rank(self, call: PressCall) -> Ranking:
        """The last row of attention."""
        weights = window_attention(call, 1)[:, :, 0].mean(1)
        received = weights.new_zeros(weights.shape[0], call.length)
        received.scatter_(1, call.positions, weights)
        scores = received.mean(0).expand_as(received).gather(1, call.positions)
        return self.ranking(call, scores, call.positions == call.length - 1)
