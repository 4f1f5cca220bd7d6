"""Keys of small norm."""

from __future__ import annotations

import torch

from sparse_attention.presses.base import PressCall, Ranking, Scorer

_STEPS = 8192
"""Norms are told apart to this part of a power of two."""


class KNorm(Scorer):
    """Keep the keys with the smallest Euclidean norm: ``score = -|k|``.

    Keys of low norm tend to receive much attention.  Norms are compared to about four digits and of
    equal ones the first stays: a token that occurs again has a rotated key of the same norm, and
    rounding must not decide.

    Cost: one pass over the keys, the least of all presses that look at the context.

    Fails where one fact has to be found again, and on models whose norms say nothing.

    Source: Devoto et al., A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression
    (2024).
    """

    name = "knorm"

    def rank(self, call: PressCall) -> Ranking:
        """Negative norms."""
        mantissa, exponent = torch.frexp(call.keys.float().norm(dim=-1))
        norms = torch.ldexp((mantissa * _STEPS).round() / _STEPS, exponent)
        return self.ranking(call, -norms)
