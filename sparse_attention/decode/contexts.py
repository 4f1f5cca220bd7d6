"""What presses left of the context for the rows of a batch, while a question is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from sparse_attention.cache.prefix import KeptContext, KeptLayer
from sparse_attention.cache.shared import SharedPrefixCache
from sparse_attention.cache.statistics import PrefillStatistics
from sparse_attention.cache.tails import (
    LayerCache,
    TailFeatures,
    features_nbytes,
    held_nbytes,
    renamed_rows,
)
from sparse_attention.presses import Decoding, Press, PressCall
from sparse_attention.presses.compress import compress, compress_layer, rotary_of
from sparse_attention.presses.order import stages
from sparse_attention.protocol import Protocol


class ContextName(NamedTuple):
    """Which rows share a context."""

    presses: tuple[Press, ...]
    row_id: int | None
    """The only row, None for all with these presses."""

    @classmethod
    def of(cls, presses: tuple[Press, ...], row_id: int) -> ContextName:
        """That of a row: presses that act while decoding make its context its own."""
        own = bool(presses) and isinstance(presses[-1], Decoding)
        return cls(presses, row_id if own else None)


WHOLE = ContextName((), None)
"""The context itself, of rows without presses."""


@dataclass
class RowContext:
    """What is left of the context for some rows, and what goes with it from step to step."""

    context: KeptContext
    features: dict[tuple[int, int], TailFeatures] = field(default_factory=dict)
    """What methods know of the tails, by layer and part."""

    def renamed_rows(self, old_names: Mapping[int, int]) -> RowContext:
        """The same for rows with other names than before."""
        features = {place: renamed_rows(known, old_names) for place, known in self.features.items()}
        return RowContext(self.context, features)


class RowContexts:
    """The contexts of all rows with presses.

    Rows with the same presses share one, unless these act while decoding: what a row then keeps
    depends on what it generates.
    """

    def __init__(self, cache: SharedPrefixCache, protocol: Protocol) -> None:
        self._cache, self._protocol = cache, protocol
        self._statistics = cache.prefix.statistics
        self._tails: list[tuple[Tensor, Tensor]] | None = None
        self._known: dict[ContextName, RowContext] = {}
        self._recent: dict[tuple[ContextName, int], Tensor] = {}

    def of(self, name: ContextName) -> RowContext:
        """That of the rows of this name."""
        if name not in self._known:
            self._known[name] = RowContext(self._compressed(name.presses))
        return self._known[name]

    def release(self, names: Sequence[ContextName]) -> None:
        """Compress the context for rows of these names, and hold nothing that only this needs."""
        for name in names:
            self.of(name)
        self._tails = None
        if all(name.row_id is None for name in names):
            self._statistics = PrefillStatistics()

    def release_tails(self, names: Sequence[ContextName]) -> None:
        """Hold no tokens of the tails that are part of the contexts of all these rows."""
        contexts = [self.of(name).context.layers for name in names]
        for cache in self._cache.layers:
            cache.release_tail(min(layers[cache.layer].tail_from for layers in contexts))

    def rename_rows(self, old_names: Mapping[int, int]) -> None:
        """Follow rows to other names; a row that was copied has copies of what is its own."""
        known, recent, self._known, self._recent = self._known, self._recent, {}, {}
        for name, own in known.items():
            if name.row_id is None:
                self._known[name] = own.renamed_rows(old_names)
                continue
            for new, old in old_names.items():
                if old == name.row_id:
                    self._known[name._replace(row_id=new)] = own.renamed_rows({new: old})
        for (name, layer), queries in recent.items():
            for new, old in old_names.items():
                if old == name.row_id:
                    self._recent[name._replace(row_id=new), layer] = queries

    @property
    def nbytes(self) -> int:
        """Bytes of the context, of what presses left of it, and what methods know of the tails."""
        kept = [layer for own in self._known.values() for layer in own.context.layers]
        parts = [part for layer in kept for part in layer.parts]
        layers = [*self._cache.prefix.layers, *(part.layer for part in parts)]
        features = [known for own in self._known.values() for known in own.features.values()]
        return (
            sum(layer.nbytes for layer in {id(layer): layer for layer in layers}.values())
            + held_nbytes([part.positions for part in parts])
            + held_nbytes(list(self._recent.values()))
            + sum(features_nbytes(known) for known in features)
            + self._statistics.nbytes
        )

    def _compressed(self, presses: tuple[Press, ...]) -> KeptContext:
        prefix, untouched = self._cache.prefix, self._protocol.dense_layers
        if self._tails is not None:
            return compress(
                prefix,
                presses,
                untouched=untouched,
                statistics=self._statistics,
                tails=self._tails,
            )
        return prefix.kept.get(
            (presses, untouched), lambda: compress(prefix, presses, untouched=untouched)
        )

    def observe_question(self, layer: int, queries: Tensor) -> None:
        """See queries (H, G, Q, D) of a question that is read before anything is compressed."""
        if not self._protocol.press_sees_question or not self._statistics.request:
            return
        if self._statistics is self._cache.prefix.statistics:
            self._statistics = self._statistics.fork()
        cache = self._cache.layers[layer]
        keys = torch.cat([cache.prefix_keys, cache.tail_keys(slice(0, 1))[0]], 1)
        self._statistics.observe(layer, queries, keys, self._statistics.facts[layer])

    def end_question(self) -> None:
        """The question was read with dense attention by a single row, whose tail it is."""
        if self._protocol.press_sees_question:
            only = slice(0, 1)
            self._tails = [
                (layer.tail_keys(only)[0].clone(), layer.tail_values(only)[0].clone())
                for layer in self._cache.layers
            ]

    def move_question(self, name: ContextName, rows: range) -> None:
        """Lower the positions of a question that was read before keys were re-rotated."""
        context = self.of(name).context
        for cache, kept in zip(self._cache.layers, context.layers, strict=True):
            if context.shift and cache.tail_length and not kept.tail_from:
                moved = self._turned(cache, rows, 0, -context.shift)
                cache.replace_tail_keys(rows, moved)

    def at_true_positions(
        self, name: ContextName, rows: range, cache: LayerCache, queries: Tensor
    ) -> tuple[LayerCache, Tensor]:
        """The cache and queries (R, H, G, Q, D) of some rows as if no key had been re-rotated."""
        context = self.of(name).context
        tail_from = context.layers[cache.layer].tail_from
        count, heads, group, new, width = queries.shape
        flat = queries.reshape(count * heads * group, new, width)
        rotary = rotary_of(self._statistics.facts[cache.layer])
        shift = torch.full((flat.shape[0], new), context.shift, device=queries.device)
        turned = rotary.rotate(flat, shift).to(queries.dtype).view_as(queries)
        keys = self._turned(cache, rows, tail_from, context.shift)
        return cache.with_tail(rows, keys), turned

    def _turned(self, cache: LayerCache, rows: range, first: int, shift: int) -> Tensor:
        """Tail keys (R, H, t, D) of some rows, those from ``first`` on moved by ``shift``."""
        keys = cache.tail_keys(slice(rows.start, rows.stop)).clone()
        part = keys[:, :, first:].flatten(0, 1)
        rotary = rotary_of(self._statistics.facts[cache.layer])
        distance = torch.full(part.shape[:2], shift, device=keys.device)
        keys[:, :, first:] = (
            rotary.rotate(part, distance).to(keys.dtype).unflatten(0, keys.shape[:2])
        )
        return keys

    def observe_decoding(self, name: ContextName, layer: int, queries: Tensor) -> None:
        """See queries (H, G, Q, D) of a row whose presses act while decoding."""
        stage = stages(name.presses)[1]
        assert stage is not None
        wanted = stage.scorer.needs.last_queries
        if not wanted or layer not in self._statistics.layers:
            return
        known = self._recent.get((name, layer), self._statistics.layers[layer].last_queries)
        self._recent[name, layer] = torch.cat([known, queries], 2)[:, :, -wanted:]

    def compress_decoded(self, name: ContextName, row: int) -> None:
        """Let presses that act while decoding act on a row of the batch, if it is time."""
        own, decoding, stage = self.of(name), name.presses[-1], stages(name.presses)[1]
        assert isinstance(decoding, Decoding)
        assert stage is not None
        layers = []
        for cache, kept in zip(self._cache.layers, own.context.layers, strict=True):
            fixed = cache.prefix.sliding or cache.layer in self._protocol.dense_layers
            new = cache.tail_length - kept.tail_from
            total = kept.parts[0].positions.shape[1] + new
            if fixed or new < decoding.interval or total <= decoding.target_size:
                layers.append(kept)
            else:
                call = self._decoded(row, cache, kept, name)
                left = compress_layer(call, [stage], cache.tail_length, decoding.target_size)
                layers.append(left or kept)
        if any(new is not old for new, old in zip(layers, own.context.layers, strict=True)):
            self._known[name] = RowContext(replace(own.context, layers=tuple(layers)))

    def _decoded(
        self, row: int, cache: LayerCache, kept: KeptLayer, name: ContextName
    ) -> PressCall:
        """A layer with the tail of a row as part of the context."""
        part, only = kept.parts[0], slice(row, row + 1)
        new = slice(kept.tail_from - cache.tail_start, None)
        tail, values = cache.tail_keys(only)[0, :, new], cache.tail_values(only)[0, :, new]
        first, length = self._cache.prefix.length, self._cache.get_seq_length(cache.layer)
        positions = torch.arange(first + kept.tail_from, length, device=tail.device)
        statistics = self._statistics.layers.get(cache.layer)
        recent = self._recent.get((name, cache.layer))
        if statistics is not None and recent is not None:
            statistics = replace(statistics, last_queries=recent)
        return PressCall(
            cache.layer,
            len(self._cache.layers),
            torch.cat([part.layer.keys, tail], 1),
            torch.cat([part.layer.values, values], 1),
            torch.cat([part.positions, positions.expand(tail.shape[0], -1)], 1),
            length,
            statistics,
        )

    def kept_share(self, name: ContextName) -> float:
        """Bytes of keys and values that a row holds now / those that dense attention holds."""
        layers = self._cache.layers
        whole = self._cache.context_nbytes + sum(layer.tail_nbytes(0) for layer in layers)
        context = self.of(name).context
        tails = sum(
            layer.tail_nbytes(kept.tail_from)
            for layer, kept in zip(layers, context.layers, strict=True)
        )
        return (context.kv_nbytes + tails) / whole
