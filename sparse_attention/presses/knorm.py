"""Keys of small norm."""

from __future__ import annotations

import torch

from sparse_attention.presses.base import PressCall, Ranking, Scorer


class KNorm(Scorer):
    """Keep the keys with the smallest Euclidean norm: ``score = -|k|``.

    Keys of low norm tend to receive much attention.  Norms are summed in float64 and compared in
    float32; of equal ones the first stays.

    Cost: one pass over the keys, the least of all presses that look at the context.

    Fails where one fact has to be found again, and on models whose norms say nothing.

    Source: Devoto et al., A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression
    (2024).
    """

    name = "knorm"

    def rank(self, call: PressCall) -> Ranking:
        """Negative norms."""
        norms = torch.linalg.vector_norm(call.keys, dim=-1, dtype=torch.float64)
        return self.ranking(call, -norms)
