"""Keys of small norm."""

from __future__ import annotations

from .base import PressCall, Ranking, Scorer


class KNorm(Scorer):
    """Keep the keys with the smallest Euclidean norm: ``score = -|k|``.

    Keys of low norm tend to receive much attention.  Needs nothing but the keys, so that it is the
    cheapest press that looks at the context; weak where one fact has to be found again.

    Source: Devoto et al., A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression
    (2024).
    """

    name = "knorm"

    def rank(self, call: PressCall) -> Ranking:
        """Negative norms."""
        return self.ranking(call, -call.keys.float().norm(dim=-1))
