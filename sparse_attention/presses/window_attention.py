"""The attention of the newest queries, which several presses rank keys by."""

from __future__ import annotations

from torch import Tensor

from ..prefill_statistics import causal_attention
from .base import PressCall


def window_attention(call: PressCall, window: int) -> Tensor:
    """Dense attention weights of the last ``window`` queries over the keys that are left.

    Returns:
        (H, G, w, n) float32, with fewer queries if fewer were seen.
    """
    queries = call.observed.last_queries[:, :, -window:]
    start = call.length - queries.shape[2]
    return causal_attention(queries, call.keys, call.positions, start, call.facts.settings)
