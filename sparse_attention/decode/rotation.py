"""Rows whose keys were re-rotated: their new tokens have lower positions than their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sparse_attention.attention.geometry import Geometry
from sparse_attention.attention.scores import SharedScores
from sparse_attention.cache.tails import Tails
from sparse_attention.cache.view import KeyView
from sparse_attention.decode.block import Block
from sparse_attention.model_facts import LayerFacts, LayerSettings, Rotary
from sparse_attention.presses.compress import rotary_of


def lower_question(block: Block, tails: Sequence[Tails], facts: Mapping[int, LayerFacts]) -> None:
    """Move a question that was read before keys were re-rotated to its new positions."""
    shift = block.context.shift
    for index, (layer, tail) in enumerate(zip(block.context.layers, tails, strict=True)):
        if shift and tail.length and not layer.taken:
            keys, _ = tail.read(block.own, slice(None), 0)
            keys.copy_(_moved(keys, -shift, rotary_of(facts[index])))


def dense_at_true_places(
    view: KeyView,
    geometry: Geometry,
    queries: Tensor,
    settings: LayerSettings,
    block: Block,
    rotary: Rotary,
) -> Tensor:
    """Dense attention (R, H, G, Q, D) of a block's rows as if no key had been re-rotated.

    Args:
        view: the whole context, and all of the rows' tails.
        geometry: of them.
        queries: (R, H, G, Q, D) of the rows.
        settings: of the layer.
        block: the rows.
        rotary: of the layer.
    """
    shift, first = block.context.shift, block.context.layers[view.layer].taken
    view = replace(view, tail_keys=_moved(view.tail_keys, shift, rotary, first))
    turned = _moved(queries, shift, rotary)
    return SharedScores(turned, view, geometry, settings).dense_output()


def _moved(vectors: Tensor, distance: int, rotary: Rotary, first: int = 0) -> Tensor:
    """A copy of vectors (..., t, D), turned as if they stood ``distance`` further on.

    Only those from number ``first`` on are turned.
    """
    turned = vectors.clone()
    part = vectors[..., first:, :].flatten(0, -3)
    by = torch.full(part.shape[:2], distance, device=vectors.device)
    rotated = rotary.rotate(part, by).to(vectors.dtype)
    turned[..., first:, :] = rotated.view_as(vectors[..., first:, :])
    return turned
