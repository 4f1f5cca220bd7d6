"""One attention operation for many rows, each with its own configuration, over one prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .attention import (
    add_selection,
    gathered_attention,
    gathering_pays,
    sink_share,
    weigh_values,
)
from .attention_call import AttentionCall, Geometry, SharedScores
from .config import AttentionConfig, Protocol
from .kv_cache import LayerCache, SharedPrefixCache
from .maskers import Masker
from .probes import Probe
from .selection import Selection


@dataclass(frozen=True)
class LayerSettings:
    """What a layer of the model says about its attention."""

    scaling: float
    sliding_window: int | None = None
    softcap: float | None = None
    sink_logits: Tensor | None = None
    """(H, G); see ``sink_share``."""


class SparseDecoder:
    """The attention of a batch of rows over one prefix; one object per ``answer``.

    Row i of the batch has ``configs[i]``, ``sample_keys[i]`` and ``probes[i]``; ``keep_rows`` drops
    rows that have ended.  It is fastest if similar configurations are neighbours; those with
    ``is_positional`` must come last (sort by ``AttentionConfig.rank``).  While ``dense_phase`` is
    on, all rows read everything and nothing is counted.
    """

    def __init__(
        self,
        cache: SharedPrefixCache,
        configs: Sequence[AttentionConfig],
        sample_keys: Sequence[str],
        protocol: Protocol,
        *,
        measure_error: bool,
    ) -> None:
        self.cache, self.protocol, self.measure_error = cache, protocol, measure_error
        self.configs, self.sample_keys = list(configs), list(sample_keys)
        self.probes = [Probe() for _ in configs]
        self.dense_phase = False
        self._arrange()

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch only."""
        self.cache.keep_rows(rows)
        self.configs = [self.configs[row] for row in rows]
        self.sample_keys = [self.sample_keys[row] for row in rows]
        self.probes = [self.probes[row] for row in rows]
        self._arrange()

    def _arrange(self) -> None:
        self.groups = _groups(self.configs)
        self.scored = sum(not config.is_positional for config in self.configs)

    def attend(self, layer: int, queries: Tensor, settings: LayerSettings) -> Tensor:
        """Attention of new tokens whose keys and values are already in the cache.

        Args:
            layer: index of the layer.
            queries: (R, H, G, Q, D).
            settings: of the layer.

        Returns:
            (R, H, G, Q, D) float32.
        """
        operation = _Operation(self, self.cache.layers[layer], queries, settings)
        if self.dense_phase:
            return operation.dense_output()
        return operation.run()


class _Operation:
    """One call of ``SparseDecoder.attend``: what its rows share."""

    def __init__(
        self, decoder: SparseDecoder, cache: LayerCache, queries: Tensor, settings: LayerSettings
    ) -> None:
        self.decoder, self.cache, self.queries, self.settings = decoder, cache, queries, settings
        self.geometry = Geometry.of(
            cache, decoder.cache.prefix.length, queries.shape[3], settings.sliding_window
        )
        self.dense_layer = cache.layer in decoder.protocol.dense_layers
        everything = decoder.measure_error or decoder.dense_phase or self.dense_layer
        rows = queries.shape[0]
        border = rows if everything else decoder.scored
        self.parts = [part for part in (range(border), range(border, rows)) if part]
        self.shared = SharedScores(
            queries, cache, self.geometry, settings.scaling, settings.softcap, self.parts
        )
        self.positional: dict[tuple[Masker, ...], Selection] = {}

    def dense_output(self) -> Tensor:
        """Dense attention of all rows."""
        rows = range(self.queries.shape[0])
        output = weigh_values(
            self.shared.probabilities(rows),
            self.cache.prefix_values,
            self.cache.tail_values(slice(None)),
        )
        sinks = self.settings.sink_logits
        return output if sinks is None else output * sink_share(self.shared.scores(rows), sinks)

    def run(self) -> Tensor:
        """Attention of all rows, with their measurements."""
        dense_layer = self.dense_layer
        configs, measure = self.decoder.configs, self.decoder.measure_error
        all_dense = dense_layer or all(config.is_dense for config in configs)
        dense = self.dense_output() if measure or all_dense else None
        output = torch.empty_like(self.queries, dtype=torch.float32)
        masked: list[tuple[Sequence[int], Selection]] = []
        for rows in [range(len(configs))] if dense_layer else self.decoder.groups:
            if dense_layer or configs[rows[0]].is_dense:
                keys = self.geometry.key_positions
                selection = Selection.everything(keys.shape[0], keys.device)
                self._count(rows, selection, None)
                if dense is None:
                    masked.append((rows, selection))
                else:
                    output[list(rows)] = dense[list(rows)]
                continue
            call = self._call(rows)
            selection = self._select(call)
            self._count(rows, selection, call)
            if gathering_pays(call, selection, len(configs), self.shared.known(rows)):
                result = gathered_attention(call, selection, self.settings.sink_logits)
                output[list(rows)] = result
            else:
                masked.append((rows, selection))
        for part in self.parts:
            own = [(rows, selection) for rows, selection in masked if rows[0] in part]
            if own:
                self._attend_masked(own, part, output)
        if measure:
            assert dense is not None
            for probe, ours, reference in zip(self.decoder.probes, output, dense, strict=True):
                probe.add_error(ours, reference)
        return output

    def _call(self, rows: Sequence[int]) -> AttentionCall:
        """What the methods of some rows see."""
        configs = self.decoder.configs
        return AttentionCall(
            self.queries[rows[0] : rows[-1] + 1],
            self.cache,
            rows,
            self.geometry,
            stack=[configs[row].methods for row in rows],
            batch=[config.methods for config in configs],
            sample_keys=[self.decoder.sample_keys[row] for row in rows],
            scaling=self.settings.scaling,
            softcap=self.settings.softcap,
            shared=self.shared,
        )

    def _select(self, call: AttentionCall) -> Selection:
        selection = Selection.nothing(call.shape[-1], call.device)
        methods = self.decoder.configs[call.rows[0]].methods
        for place, method in enumerate(methods):
            done = methods[: place + 1]
            if done in self.positional:
                selection = self.positional[done]
                continue
            selection = method.select(call, selection)
            if all(earlier.positional for earlier in done):
                self.positional[done] = selection
        newest = call.query_positions - call.key_positions[0]
        return selection.or_newest_where_empty(newest)

    def _attend_masked(
        self, masked: list[tuple[Sequence[int], Selection]], part: range, output: Tensor
    ) -> None:
        """Fill ``output`` for rows of a part whose selection is applied as a mask, together."""
        order = [row for rows, _ in masked for row in rows]
        scores = self.shared.scores(part)
        logits = scores.new_empty(scores.shape[1], len(order), *scores.shape[2:]).transpose(0, 1)
        place = 0
        for rows, selection in masked:
            chosen = scores[rows[0] - part.start : rows[-1] + 1 - part.start]
            add_selection(chosen, selection, out=logits[place : place + len(rows)])
            place += len(rows)
        weights = logits.transpose(0, 1).softmax(-1).transpose(0, 1)
        result = weigh_values(weights, self.cache.prefix_values, self.cache.tail_values(order))
        sinks = self.settings.sink_logits
        output[order] = result if sinks is None else result * sink_share(logits, sinks)

    def _count(self, rows: Sequence[int], selection: Selection, call: AttentionCall | None) -> None:
        """Record what ``rows`` read, and what the methods of ``call`` read to choose it."""
        _, heads, group, queries, _ = self.queries.shape
        visible = heads * group * self.geometry.visible_total
        if selection.reads.shape[-2] == 1 and self.geometry.visible is not None:
            selection = selection.restricted_to(self.geometry.visible)
        counts = selection.counts.expand(len(rows), heads, group, queries, 1).sum((1, 2, 3, 4))
        united = counts
        if selection.reads.shape[2] > 1:  # else all query heads of a group read the same
            united = selection.united_counts.expand(len(rows), heads, group, queries, 1)
            united = united.sum((1, 2, 3, 4))
        for row, count, union in zip(rows, counts, united, strict=True):
            selecting = 0.0
            if call is not None:
                methods = self.decoder.configs[row].methods
                selecting = sum(method.selection_bytes(call) for method in methods)
            share = selecting / self.cache.prefix.bytes_per_key
            self.decoder.probes[row].add_reads(count, union, visible, share)


def _groups(configs: Sequence[AttentionConfig]) -> list[range]:
    """Neighbouring rows whose configurations can be handled together."""
    groups: list[range] = []
    for row, config in enumerate(configs):
        if groups and _alike(configs[groups[-1][0]], config):
            groups[-1] = range(groups[-1].start, row + 1)
        else:
            groups.append(range(row, row + 1))
    return groups


def _alike(one: AttentionConfig, other: AttentionConfig) -> bool:
    return len(one.methods) == len(other.methods) and all(
        a.stacks_with(b) for a, b in zip(one.methods, other.methods, strict=True)
    )
