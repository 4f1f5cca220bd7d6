"""Attention of a context's own queries, in memory linear in its length."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from sparse_attention.model_facts import LayerSettings
from sparse_attention.numerics.products import product
from sparse_attention.numerics.tensors import soft_cap

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK_ELEMENTS = 1 << 21
"""Attention weights that are held at a time."""


def causal_attention(
    queries: Tensor, keys: Tensor, key_positions: Tensor, start: int, settings: LayerSettings
) -> Tensor:
    """Dense attention weights of queries at positions ``start``, ``start + 1``, ...

    Args:
        queries: (H, G, n, D).
        keys: (H, m, D).
        key_positions: (H, m) or (1, m) int64; a query sees keys up to its own position.
        start: position of the first query.
        settings: of the layer; sinks take their share, a sliding window is not applied.

    Returns:
        (H, G, n, m) float32; 0 for a query that sees no key.
    """
    heads, group, count, width = queries.shape
    flat = queries.reshape(heads, group * count, width)
    scores = product(flat.to(keys.dtype), keys.mT).mul_(settings.scaling)
    scores = soft_cap(scores, settings.softcap).view(heads, group, count, -1)
    positions = torch.arange(start, start + count, device=keys.device)
    hidden = key_positions[:, None] > positions[:, None]
    scores.masked_fill_(hidden[:, None], -torch.inf)
    if settings.sink_logits is None:
        return torch.nan_to_num_(scores.softmax(-1), nan=0.0)
    sinks = settings.sink_logits.float()[:, :, None, None].expand(heads, group, count, 1)
    return torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]


def attention_sums(queries: Tensor, keys: Tensor, start: int, settings: LayerSettings) -> Tensor:
    """Column sums of dense causal attention, a block of queries of one head at a time.

    Args:
        queries: (H, G, n, D), at positions ``start``, ``start + 1``, ...
        keys: (H, start + n, D).
        start: position of the first query.
        settings: of the layer.

    Returns:
        (H, start + n) float32, summed over the queries, mean over the group.
    """
    heads, group, count, _ = queries.shape
    length = keys.shape[1]
    sums = torch.zeros(heads, length, device=keys.device)
    positions = torch.arange(length, device=keys.device)[None]
    block = max(1, _BLOCK_ELEMENTS // (group * length))
    for first in range(0, count, block):
        end = min(first + block, count)
        seen = start + end
        for head in range(heads):
            sinks = settings.sink_logits
            own = replace(settings, sink_logits=None if sinks is None else sinks[head : head + 1])
            weights = causal_attention(
                queries[head : head + 1, :, first:end],
                keys[head : head + 1, :seen],
                positions[:, :seen],
                start + first,
                own,
            )
            sums[head, :seen] += weights.sum((0, 1, 2)) / group
    return sums
