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
    rows that have ended.  While ``dense_phase`` is on, all rows read everything and nothing is
    counted.
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

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch only."""
        self.cache.keep_rows(rows)
        self.configs = [self.configs[row] for row in rows]
        self.sample_keys = [self.sample_keys[row] for row in rows]
        self.probes = [self.probes[row] for row in rows]

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
        return operation.run(layer in self.protocol.dense_layers)


class _Operation:
    """One call of ``SparseDecoder.attend``: what its rows share."""

    def __init__(
        self, decoder: SparseDecoder, cache: LayerCache, queries: Tensor, settings: LayerSettings
    ) -> None:
        self.decoder, self.cache, self.queries, self.settings = decoder, cache, queries, settings
        self.geometry = Geometry.of(
            cache, decoder.cache.prefix.length, queries.shape[3], settings.sliding_window
        )
        self.shared = SharedScores(
            queries, cache, self.geometry, settings.scaling, settings.softcap
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

    def run(self, dense_layer: bool) -> Tensor:
        """Attention of all rows, with their measurements."""
        configs, measure = self.decoder.configs, self.decoder.measure_error
        is_dense = [dense_layer or config.is_dense for config in configs]
        dense = self.dense_output() if measure or all(is_dense) else None
        output = torch.empty_like(self.queries, dtype=torch.float32)
        masked: list[tuple[int, Selection]] = []
        for row, config in enumerate(configs):
            if is_dense[row]:
                self._count_dense(row)
                if dense is None:
                    keys = self.geometry.key_positions
                    masked.append((row, Selection.everything(keys.shape[0], keys.device)))
                else:
                    output[row] = dense[row]
                continue
            call = self._call(row, config)
            selection = self._select(call, config)
            self._count(row, selection)
            if gathering_pays(call, selection, len(configs), self.shared.known):
                output[row] = gathered_attention(call, selection, self.settings.sink_logits)[0]
            else:
                masked.append((row, selection))
        if masked:
            self._attend_masked(masked, output)
        if measure:
            assert dense is not None
            for probe, own, reference in zip(self.decoder.probes, output, dense, strict=True):
                probe.add_error(own, reference)
        return output

    def _call(self, row: int, config: AttentionConfig) -> AttentionCall:
        """What the methods of one row see."""
        return AttentionCall(
            self.queries[row : row + 1],
            self.cache,
            (row,),
            self.geometry,
            methods=config.methods,
            batch=[config.methods for config in self.decoder.configs],
            sample_keys=(self.decoder.sample_keys[row],),
            scaling=self.settings.scaling,
            softcap=self.settings.softcap,
            shared=self.shared,
        )

    def _select(self, call: AttentionCall, config: AttentionConfig) -> Selection:
        selection = Selection.nothing(call.shape[-1], call.device)
        for place, method in enumerate(config.methods):
            done = config.methods[: place + 1]
            if done in self.positional:
                selection = self.positional[done]
                continue
            selection = method.select(call, selection)
            if all(earlier.positional for earlier in done):
                self.positional[done] = selection
        newest = call.query_positions - call.key_positions[0]
        return selection.or_newest_where_empty(newest)

    def _attend_masked(self, masked: list[tuple[int, Selection]], output: Tensor) -> None:
        """Fill ``output`` for rows whose selection is applied as a mask, in one product."""
        rows = [row for row, _ in masked]
        scores = self.shared.scores(range(output.shape[0]))
        logits = scores.new_empty(scores.shape[1], len(rows), *scores.shape[2:]).transpose(0, 1)
        for place, (row, selection) in enumerate(masked):
            add_selection(scores[row : row + 1], selection, out=logits[place : place + 1])
        weights = logits.transpose(0, 1).softmax(-1).transpose(0, 1)
        tails = self.cache.tail_values(rows)
        part = weigh_values(weights, self.cache.prefix_values, tails)
        sinks = self.settings.sink_logits
        output[rows] = part if sinks is None else part * sink_share(logits, sinks)

    def _count(self, row: int, selection: Selection) -> None:
        _, heads, group, queries, _ = self.queries.shape
        repeats = heads * group * queries // selection.counts.numel()
        visible = heads * group * self.geometry.visible_total
        self.decoder.probes[row].add_reads(selection.counts.sum() * repeats, visible)

    def _count_dense(self, row: int) -> None:
        _, heads, group, _, _ = self.queries.shape
        visible = heads * group * self.geometry.visible_total
        self.decoder.probes[row].add_reads(torch.tensor(visible), visible)
