"""From presses and a context that was read to what is left of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sparse_attention.cache.prefix import KeptContext, KeptHeads, KeptLayer, Prefix, PrefixLayer
from sparse_attention.cache.statistics import PrefillStatistics
from sparse_attention.errors import UserError
from sparse_attention.model_facts import LayerFacts, Rotary
from sparse_attention.presses import KeyRerotation, Press, PressCall
from sparse_attention.presses.order import Stage, stages


def compress(
    prefix: Prefix,
    presses: Sequence[Press],
    *,
    untouched: Sequence[int] = (),
    statistics: PrefillStatistics | None = None,
    tails: Sequence[tuple[Tensor, Tensor]] | None = None,
) -> KeptContext:
    """What ``presses`` leave of a context when it has been read.

    Args:
        prefix: the context, which stays as it is.
        presses: in order.
        untouched: layers that stay whole, beside those with a sliding window.
        statistics: those of the prefix, unless others are given.
        tails: keys and values (H, t, D) of each layer that belong to the context as well: the
            question, where it is seen before compressing.

    Raises:
        UserError: if the model lacks what a press needs, or has another number of layers.
    """
    known = prefix.statistics if statistics is None else statistics
    at_the_end, _ = stages(presses)
    extra = 0 if tails is None else tails[0][0].shape[1]
    layers = []
    for index, layer in enumerate(prefix.layers):
        if layer.sliding or index in untouched:
            layers.append(whole_layer(layer))
            continue
        keys, values = layer.keys, layer.values
        if tails is not None:
            keys = torch.cat([keys, tails[index][0]], 1)
            values = torch.cat([values, tails[index][1]], 1)
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
        layers.append(compress_layer(call, at_the_end, extra) or whole_layer(layer))
    kept = KeptContext(tuple(layers))
    if any(isinstance(press, KeyRerotation) for press in presses):
        return _rerotated(kept, known.facts, prefix.length, prefix.length + extra)
    return kept


def whole_layer(layer: PrefixLayer) -> KeptLayer:
    """A layer of which everything is kept, without a copy."""
    heads, count, _ = layer.keys.shape
    positions = torch.arange(layer.start, layer.start + count, device=layer.keys.device)
    part = KeptHeads(slice(0, heads), layer, positions.expand(heads, -1))
    return KeptLayer((part,), tail_from=0)


def compress_layer(
    call: PressCall, chosen: Sequence[Stage], tail_from: int, budget: int | None = None
) -> KeptLayer | None:
    """What is left of one layer; None if that is everything.

    Args:
        call: the layer.
        chosen: stages, in order.
        tail_from: tokens of a tail that are among the keys.
        budget: keys to keep of each head, if it is not for the presses to say.
    """
    total = call.count
    keep = torch.ones_like(call.positions, dtype=torch.bool)
    for stage in chosen:
        call = call if bool(keep.all()) else call.only(keep)
        keep = stage.keep(call, budget)
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


def rotary_of(facts: LayerFacts) -> Rotary:
    """How a layer rotates.

    Raises:
        UserError: if it does not, or in another way than by fixed frequencies.
    """
    if facts.rotary is None:
        raise UserError(
            "key_rerotation cannot be used with this model: its positions are no rotation of "
            "fixed frequencies"
        )
    return facts.rotary


def _rerotated(
    kept: KeptContext, facts: dict[int, LayerFacts], length: int, total: int
) -> KeptContext:
    """With consecutive positions; ``total`` tokens have been read, ``length`` of them context."""
    counts = [
        part.positions.shape[1]
        for layer in kept.layers
        for part in layer.parts
        if not part.layer.sliding
    ]
    shift = total - max(counts, default=total)
    layers = []
    for index, layer in enumerate(kept.layers):
        rotary = rotary_of(facts[index])
        end = (total if layer.tail_from else length) - shift
        parts = tuple(_moved(part, end, rotary) for part in layer.parts)
        layers.append(KeptLayer(parts, layer.tail_from))
    return KeptContext(tuple(layers), shift)


def _moved(part: KeptHeads, end: int, rotary: Rotary) -> KeptHeads:
    """With the positions before ``end``."""
    old = part.positions
    new = torch.arange(end - old.shape[1], end, device=old.device).expand_as(old)
    if torch.equal(old, new):
        return part
    layer = part.layer
    keys = rotary.rotate(layer.keys, new - old).to(layer.keys.dtype)
    moved = PrefixLayer(keys, layer.values, layer.start, layer.sliding)
    return replace(part, layer=moved)
