"""Presses that act while an answer is generated: a row's new tokens become part of its context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sparse_attention.cache.context import Context, ContextLayer
from sparse_attention.cache.pair import joined
from sparse_attention.cache.statistics import PrefillStatistics
from sparse_attention.cache.tails import Tails
from sparse_attention.decode.row import Row
from sparse_attention.presses.base import PressCall
from sparse_attention.presses.compress import compress_layer
from sparse_attention.presses.order import stages


def remember_queries(row: Row, layer: int, queries: Tensor, statistics: PrefillStatistics) -> None:
    """Keep as many of the last queries (H, G, Q, D) as the row's presses rank keys by."""
    stage = stages(row.config.presses)[1]
    assert stage is not None
    wanted = stage.scorer.needs.last_queries
    if wanted and layer in statistics.layers:
        before = row.last_queries.get(layer, statistics.layers[layer].last_queries)
        row.last_queries[layer] = torch.cat([before, queries], 2)[:, :, -wanted:]


def recompressed(
    row: Row,
    place: int,
    tails: Sequence[Tails],
    statistics: PrefillStatistics,
    untouched: Sequence[int],
) -> Context | None:
    """The row's context after its presses have acted; None if it is not time.

    Args:
        row: with presses that act while decoding.
        place: of the row in the batch.
        tails: of all layers.
        statistics: of the prefill.
        untouched: layers that presses leave alone, beside those with a sliding window.
    """
    decoding, stage = row.decoding, stages(row.config.presses)[1]
    assert decoding is not None
    assert stage is not None
    layers: list[ContextLayer] = []
    for index, (layer, tail) in enumerate(zip(row.context.layers, tails, strict=True)):
        new = tail.length - layer.taken
        total = layer.segments[0].keys.shape[1] + new
        fixed = layer.sliding or index in untouched
        if fixed or new < decoding.interval or total <= decoding.target_size:
            layers.append(layer)
            continue
        call = _with_tail(row, place, index, tail, statistics, len(tails))
        left = compress_layer(call, [stage], tail.length, decoding.target_size)
        layers.append(left or layer)
    if all(new is old for new, old in zip(layers, row.context.layers, strict=True)):
        return None
    return replace(row.context, layers=tuple(layers))


def _with_tail(
    row: Row,
    place: int,
    index: int,
    tail: Tails,
    statistics: PrefillStatistics,
    layers: int,
) -> PressCall:
    """A layer with the tail of the row as part of the context."""
    layer, length = row.context.layers[index].here, row.context.length + tail.length
    segment = layer.segments[0]
    new_keys, new_values = tail.read(slice(place, place + 1), slice(None), layer.taken)
    keys, values = joined((segment.keys, segment.values), (new_keys[0], new_values[0]))
    new = torch.arange(row.context.length + layer.taken, length, device=keys.device)
    known = statistics.layers.get(index)
    if known is not None and index in row.last_queries:
        known = replace(known, last_queries=row.last_queries[index])
    return PressCall(
        index,
        layers,
        keys,
        values,
        torch.cat([segment.places, new.expand(keys.shape[0], -1)], 1),
        length,
        known,
    )
