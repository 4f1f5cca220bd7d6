"""From presses and a context that was read to what is left of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from sparse_attention.cache.context import Context, ContextLayer, Segment
from sparse_attention.cache.pair import joined
from sparse_attention.cache.statistics import PrefillStatistics
from sparse_attention.errors import UserError
from sparse_attention.model_facts import LayerFacts, Rotary
from sparse_attention.presses.base import Press, PressCall, missing
from sparse_attention.presses.key_rerotation import KeyRerotation
from sparse_attention.presses.order import Stage, stages

if TYPE_CHECKING:
    from torch import Tensor


def compress(
    context: Context,
    presses: Sequence[Press],
    *,
    untouched: Sequence[int] = (),
    statistics: PrefillStatistics | None = None,
    tails: Sequence[tuple[Tensor, Tensor]] | None = None,
) -> Context:
    """What ``presses`` leave of a context when it has been read.

    Args:
        context: it stays as it is.
        presses: in order.
        untouched: layers that stay whole, beside those with a sliding window.
        statistics: those of the context, unless others are given.
        tails: keys and values (H, t, D) of each layer that belong to the context as well: the
            question, where it is seen before compressing.

    Raises:
        UserError: if the model lacks what a press needs, or has another number of layers.
    """
    known = context.statistics if statistics is None else statistics
    for press in presses:
        if press.needs and len(known.facts) < len(context.layers):
            raise missing(press, "its attention cannot be watched while it reads a context")
    at_the_end, _ = stages(presses)
    extra = 0 if tails is None else tails[0][0].shape[1]
    layers = []
    for index, layer in enumerate(context.layers):
        if layer.sliding or index in untouched:
            layers.append(layer)
            continue
        whole = layer.here.segments[0]
        keys, values = whole.keys, whole.values
        if tails is not None:
            keys, values = joined((keys, values), tails[index])
        positions = torch.arange(keys.shape[1], device=keys.device).expand(keys.shape[0], -1)
        call = PressCall(
            index,
            len(context.layers),
            keys,
            values,
            positions,
            length=keys.shape[1],
            statistics=known.layers.get(index),
        )
        left_over = compress_layer(call, at_the_end, extra) or layer
        layers.append(left_over.waiting_as(layer))
    left = Context(context.length, tuple(layers))
    if any(isinstance(press, KeyRerotation) for press in presses):
        return _rerotated(left, known.facts, context.length + extra)
    return left


def compress_layer(
    call: PressCall, chosen: Sequence[Stage], taken: int, budget: int | None = None
) -> ContextLayer | None:
    """What is left of one layer; None if that is everything.

    Args:
        call: the layer.
        chosen: stages, in order.
        taken: tokens of a tail that are among the keys.
        budget: keys to keep of each head, if it is not for the presses to say.
    """
    total = call.count
    keep = torch.ones_like(call.positions, dtype=torch.bool)
    for stage in chosen:
        call = call if bool(keep.all()) else call.only(keep)
        keep = stage.keep(call, budget)
    if call.count == total and bool(keep.all()):
        return None
    return ContextLayer(tuple(_segments(call, keep)), taken=taken)


def _segments(call: PressCall, keep: Tensor) -> Iterator[Segment]:
    counts = keep.sum(-1)
    if int(counts.min()) == int(counts.max()):
        left = call.only(keep)
        yield Segment(left.keys, left.values, positions=left.positions)
        return
    for head in range(keep.shape[0]):
        chosen = slice(head, head + 1)
        own = replace(
            call,
            keys=call.keys[chosen],
            values=call.values[chosen],
            positions=call.positions[chosen],
        ).only(keep[chosen])
        yield Segment(own.keys, own.values, first_head=head, positions=own.positions)


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


def _rerotated(left: Context, facts: dict[int, LayerFacts], total: int) -> Context:
    """With consecutive positions, where ``total`` tokens have been read, of context and tails."""
    counts = [
        segment.keys.shape[1]
        for layer in left.layers
        for segment in layer.segments
        if not layer.sliding
    ]
    shift = total - max(counts, default=total)
    layers = []
    for index, layer in enumerate(left.layers):
        rotary = rotary_of(facts[index])
        end = (total if layer.taken else left.length) - shift
        segments = tuple(_moved(segment, end, rotary) for segment in layer.here.segments)
        layers.append(replace(layer, segments=segments).waiting_as(layer))
    return replace(left, layers=tuple(layers), shift=shift)


def _moved(segment: Segment, end: int, rotary: Rotary) -> Segment:
    """With the positions before ``end``, and the note of where the keys were before."""
    old = segment.places
    new = torch.arange(end - old.shape[1], end, device=old.device).expand_as(old)
    if torch.equal(old, new):
        return segment
    keys = rotary.rotate(segment.keys, new - old).to(segment.keys.dtype)
    return replace(segment, keys=keys, positions=old, features={})
