"""From presses and a context that was read to what is left of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .kv_cache import KeptContext, KeptHeads, KeptLayer, Prefix, PrefixLayer
from .prefill_statistics import PrefillStatistics
from .presses import Adjustment, Press, PressCall, Scorer


def stages(presses: Sequence[Press]) -> Iterator[tuple[Scorer, list[Adjustment]]]:
    """Each scorer with the adjustments that follow it."""
    for place, press in enumerate(presses):
        if isinstance(press, Scorer):
            rest = presses[place + 1 :]
            until = next((i for i, one in enumerate(rest) if isinstance(one, Scorer)), len(rest))
            yield press, [one for one in rest[:until] if isinstance(one, Adjustment)]


def compress(
    prefix: Prefix,
    presses: Sequence[Press],
    *,
    untouched: Sequence[int] = (),
    statistics: PrefillStatistics | None = None,
    tails: Sequence[tuple[Tensor, Tensor]] | None = None,
) -> KeptContext:
    """What ``presses`` leave of a context.

    Args:
        prefix: the context, which stays as it is.
        presses: in order.
        untouched: layers that stay whole, beside those with a sliding window.
        statistics: those of the prefix, unless others are given.
        tails: keys and values (H, t, D) of each layer that belong to the context as well: the
            question, where it is seen before compressing.
    """
    known = prefix.statistics if statistics is None else statistics
    layers = []
    for index, layer in enumerate(prefix.layers):
        if layer.sliding or index in untouched:
            layers.append(whole_layer(layer))
            continue
        keys, values, extra = layer.keys, layer.values, 0
        if tails is not None:
            extra = tails[index][0].shape[1]
            keys, values = (
                torch.cat(pair, 1) for pair in zip((keys, values), tails[index], strict=True)
            )
        positions = torch.arange(keys.shape[1], device=keys.device).expand(keys.shape[0], -1)
        call = PressCall(
            index,
            len(prefix.layers),
            keys,
            values,
            positions,
            length=keys.shape[1],
            statistics=known.layers.get(index),
        )
        layers.append(compress_layer(call, presses, extra) or whole_layer(layer))
    return KeptContext(tuple(layers))


def whole_layer(layer: PrefixLayer) -> KeptLayer:
    """A layer of which everything is kept, without a copy."""
    heads, count, _ = layer.keys.shape
    positions = torch.arange(layer.start, layer.start + count, device=layer.keys.device)
    part = KeptHeads(slice(0, heads), layer, positions.expand(heads, -1))
    return KeptLayer((part,), tail_from=0)


def compress_layer(call: PressCall, presses: Sequence[Press], tail_from: int) -> KeptLayer | None:
    """What presses leave of one layer; None if they leave everything.

    Args:
        call: the layer.
        presses: in order.
        tail_from: tokens of a tail that are among the keys.
    """
    total = call.count
    keep = torch.ones_like(call.positions, dtype=torch.bool)
    for scorer, adjustments in stages(presses):
        call = call if bool(keep.all()) else call.only(keep)
        ranking = scorer.rank(call)
        for adjustment in adjustments:
            ranking = adjustment.adjust(call, ranking)
        keep = ranking.keep()
    if call.count == total and bool(keep.all()):
        return None
    return KeptLayer(tuple(_parts(call, keep)), tail_from)


def _parts(call: PressCall, keep: Tensor) -> Iterator[KeptHeads]:
    counts = keep.sum(-1)
    if int(counts.min()) == int(counts.max()):
        left = call.only(keep)
        everything = slice(0, keep.shape[0])
        yield KeptHeads(everything, PrefixLayer(left.keys, left.values, start=0), left.positions)
        return
    for head in range(keep.shape[0]):
        chosen = slice(head, head + 1)
        own = replace(
            call,
            keys=call.keys[chosen],
            values=call.values[chosen],
            positions=call.positions[chosen],
        ).only(keep[chosen])
        yield KeptHeads(chosen, PrefixLayer(own.keys, own.values, start=0), own.positions)
