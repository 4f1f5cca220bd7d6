"""Positions inside the compressed cache."""

from __future__ import annotations

from sparse_attention.cache.statistics import StatisticsRequest
from sparse_attention.presses.base import Press


class KeyRerotation(Press):
    """Give the kept keys consecutive positions, and let question and answer go on after them.

    A key that is kept as number j of n is turned from its position p to ``L - n + j``, where L is
    the largest number of keys that a layer or head keeps; the next token has position L.  So all
    distances are those inside the cache, as in the paper of StreamingLLM, and no query ever is
    farther from a key than the cache is long.  With equal budgets, keys get positions 0 to n - 1.
    Keys of layers with a sliding window move along, all by the same amount.  Only the angle
    changes: a factor that the model puts on its rotations stays.  Comes last.

    Cost: one rotation per kept key.

    Fails on models without rotary positions of fixed frequencies, which are refused, and where the
    true distance of two facts matters.

    Source: Xiao et al., Efficient Streaming Language Models with Attention Sinks (2023).
    """

    name = "key_rerotation"
    last = True

    @property
    def needs(self) -> StatisticsRequest:
        """How the model rotates."""
        return StatisticsRequest(rotation=True)
