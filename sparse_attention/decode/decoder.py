"""One attention operation for many rows, each with its own configuration, over one prefix."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.geometry import Geometry
from sparse_attention.attention.paths import (
    add_selection,
    gathered_attention,
    gathering_pays,
    sink_share,
    weigh_values,
)
from sparse_attention.attention.scores import SharedScores
from sparse_attention.attention.selection import Selection
from sparse_attention.cache.shared import SharedPrefixCache
from sparse_attention.cache.tails import LayerCache
from sparse_attention.config import AttentionConfig
from sparse_attention.decode.contexts import WHOLE, ContextName, RowContexts
from sparse_attention.decode.probes import Probes
from sparse_attention.maskers import Masker
from sparse_attention.model_facts import LayerSettings
from sparse_attention.protocol import Protocol


class _Block:
    """Neighbouring rows over the same context."""

    def __init__(
        self, rows: range, configs: Sequence[AttentionConfig], name: ContextName = WHOLE
    ) -> None:
        self.rows, self.configs, self.name = rows, configs, name
        self.groups = _groups(configs)
        self.scored = sum(not config.is_positional for config in configs)
        self.reads_all = not any(config.maskers for config in configs)

    @property
    def decodes(self) -> bool:
        """Whether presses act on it while decoding."""
        return self.name.row_id is not None


class SparseDecoder:
    """The attention of a batch of rows over one prefix; one object per ``answer``.

    Row i of the batch has ``configs[i]``, ``sample_keys[i]`` and ``probes[i]``; ``keep_rows`` drops
    rows that have ended.  Configurations must be sorted by ``AttentionConfig.rank``.
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
        self.probes = Probes(len(self.configs), cache.layers[0].prefix_keys.device)
        self._dense_phase = self._released = False
        self.contexts = RowContexts(cache, protocol)
        self._arrange()

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch only."""
        self.contexts.rename_rows(self.cache.keep_rows(rows))
        self.configs = [self.configs[row] for row in rows]
        self.sample_keys = [self.sample_keys[row] for row in rows]
        self.probes.keep_rows(rows)
        self._arrange()

    def _arrange(self) -> None:
        """Put neighbouring rows over the same context into blocks; those without presses first."""
        names = [
            ContextName.of(config.presses, row_id)
            for config, row_id in zip(self.configs, self.cache.row_ids, strict=True)
        ]
        blocks: list[_Block] = []
        for name, rows in groupby(range(len(names)), names.__getitem__):
            own = list(rows)
            blocks.append(
                _Block(range(own[0], own[-1] + 1), self.configs[own[0] : own[-1] + 1], name)
            )
        self._plain = blocks.pop(0) if blocks and blocks[0].name == WHOLE else None
        self._pressed = blocks

    @contextlib.contextmanager
    def dense_question(self) -> Iterator[None]:
        """Inside, a single row reads for all of them: densely, and without being counted."""
        self.cache.row_ids[:] = [0]
        self._dense_phase = True
        yield
        self._dense_phase = False
        self.contexts.end_question()
        self.cache.expand(len(self.configs))
        for block in self._pressed:
            self.contexts.move_question(block.name, block.rows)

    def end_step(self) -> None:
        """New tokens have passed all layers: compress what has to be, note what is held."""
        for block in self._pressed:
            if block.decodes:
                self.contexts.compress_decoded(block.name, block.rows.start)
            share = self.contexts.kept_share(block.name)
            for row in block.rows:
                self.probes[row].kept_share = share
        if self._released:
            self.contexts.release_tails([block.name for block in self._pressed])

    def release_context(self) -> None:
        """Hold no more of the context than what presses left of it, if nothing else is read."""
        if not self._plain and not self.measure_error and not self._released:
            self._released = True
            self.contexts.release([block.name for block in self._pressed])
            self.cache.release_context()

    @property
    def nbytes(self) -> int:
        """Bytes that are held: of the context, of the tails, and what methods know of them."""
        return self.contexts.nbytes + sum(layer.nbytes for layer in self.cache.layers)

    @property
    def position_shifts(self) -> list[int]:
        """How much lower the positions of new tokens are than their places, for each row."""
        shifts = [0] * len(self.configs)
        if not self._dense_phase:
            for block in self._pressed:
                for row in block.rows:
                    shifts[row] = self.contexts.of(block.name).context.shift
        return shifts

    def attend(self, layer: int, queries: Tensor, settings: LayerSettings) -> Tensor:
        """Attention of new tokens whose keys and values are already in the cache.

        Args:
            layer: index of the layer.
            queries: (R, H, G, Q, D).
            settings: of the layer.

        Returns:
            (R, H, G, Q, D) float32.
        """
        whole = self.cache.layers[layer]
        geometry = Geometry.of(
            whole, self.cache.prefix.length, queries.shape[3], settings.sliding_window
        )
        if self._dense_phase:
            self.contexts.observe_question(layer, queries[0])
            only = _Block(range(1), [AttentionConfig()])
            return _Operation(whole, geometry, queries, settings, only, self).dense_output()
        output = torch.empty_like(queries, dtype=torch.float32)
        dense = None
        if self.measure_error or self._plain:
            block = self._plain or _Block(range(0), [])
            rows = queries if self.measure_error else queries[: len(block.rows)]
            operation = _Operation(whole, geometry, rows, settings, block, self)
            dense = operation.dense_output() if self.measure_error else None
            operation.run(output[: len(block.rows)], dense)
        for block in self._pressed:
            self._attend_kept(block, whole, geometry, queries, settings, output)
            if dense is not None and self.contexts.of(block.name).context.shift:
                own = slice(block.rows.start, block.rows.stop)
                cache, turned = self.contexts.at_true_positions(
                    block.name, block.rows, whole, queries[own]
                )
                operation = _Operation(cache, geometry, turned, settings, block, self)
                dense[own] = operation.dense_output()
        if dense is not None:
            self.probes.add_errors(output, dense)
        return output

    def _attend_kept(
        self,
        block: _Block,
        whole: LayerCache,
        geometry: Geometry,
        queries: Tensor,
        settings: LayerSettings,
        output: Tensor,
    ) -> None:
        """Fill ``output`` for the rows of a block from what was kept of the context."""
        kept = self.contexts.of(block.name)
        rows = slice(block.rows.start, block.rows.stop)
        layer = kept.context.layers[whole.layer]
        for place, part in enumerate(layer.parts):
            features = kept.features.setdefault((whole.layer, place), {})
            cache = whole.over(part, block.rows, layer.tail_from, features)
            context = part.layer.start + part.layer.keys.shape[1]
            own = Geometry.of(cache, context, queries.shape[3], settings.sliding_window)
            sinks = settings.sink_logits
            operation = _Operation(
                cache,
                own,
                queries[rows, part.heads],
                replace(settings, sink_logits=None if sinks is None else sinks[part.heads]),
                block,
                self,
            )
            operation.visible_total = geometry.visible_total
            operation.run(output[rows, part.heads])
        if block.decodes:
            self.contexts.observe_decoding(block.name, whole.layer, queries[block.rows.start])


class _Operation:
    """One call of ``SparseDecoder.attend`` over one context: what its rows share.

    There may be more rows than those of the block: they are only compared with dense attention.
    """

    def __init__(
        self,
        cache: LayerCache,
        geometry: Geometry,
        queries: Tensor,
        settings: LayerSettings,
        block: _Block,
        decoder: SparseDecoder,
    ) -> None:
        self.cache, self.geometry, self.queries = cache, geometry, queries
        self.settings, self.block = settings, block
        own = slice(block.rows.start, block.rows.stop)
        self.probes, self.sample_keys = decoder.probes, decoder.sample_keys[own]
        self.visible_total = geometry.visible_total
        self.dense_layer = cache.layer in decoder.protocol.dense_layers
        rows = queries.shape[0]
        everything = decoder.measure_error or self.dense_layer
        border = rows if everything else block.scored
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
            self.cache.tail_values(slice(rows.stop)),
        )
        sinks = self.settings.sink_logits
        return output if sinks is None else output * sink_share(self.shared.scores(rows), sinks)

    def run(self, output: Tensor, dense: Tensor | None = None) -> None:
        """Fill ``output`` with the attention of the block's rows, and count what they read.

        ``dense`` is that of all rows, if it is known.
        """
        dense_layer, configs = self.dense_layer, self.block.configs
        if dense is None and (dense_layer or self.block.reads_all):
            dense = self.dense_output()
        masked: list[tuple[Sequence[int], Selection]] = []
        for rows in [range(len(configs))] if dense_layer else self.block.groups:
            if dense_layer or not configs[rows[0]].maskers:
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

    def _call(self, rows: Sequence[int]) -> AttentionCall:
        """What the methods of some rows see."""
        configs = self.block.configs
        return AttentionCall(
            self.queries[rows[0] : rows[-1] + 1],
            self.cache,
            rows,
            self.geometry,
            stack=[configs[row].maskers for row in rows],
            batch=[config.maskers for config in configs],
            sample_keys=[self.sample_keys[row] for row in rows],
            scaling=self.settings.scaling,
            softcap=self.settings.softcap,
            shared=self.shared,
        )

    def _select(self, call: AttentionCall) -> Selection:
        selection = Selection.nothing(call.shape[-1], call.device)
        methods = self.block.configs[call.rows[0]].maskers
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

    def _count(self, rows: range, selection: Selection, call: AttentionCall | None) -> None:
        """Record what ``rows`` read, and what the methods of ``call`` read to choose it."""
        _, heads, group, queries, _ = self.queries.shape
        visible = heads * group * self.visible_total
        if selection.reads.shape[-2] == 1 and self.geometry.visible is not None:
            selection = selection.restricted_to(self.geometry.visible)
        counts = selection.counts.expand(len(rows), heads, group, queries, 1).sum((1, 2, 3, 4))
        united = counts
        if selection.reads.shape[2] > 1:  # else all query heads of a group read the same
            united = selection.united_counts.expand(len(rows), heads, group, queries, 1)
            united = united.sum((1, 2, 3, 4))
        own = self.geometry.visible_total / self.visible_total
        selecting = [0.0] * len(rows)
        if call is not None:
            for place, row in enumerate(rows):
                maskers = self.block.configs[row].maskers
                size = sum(masker.selection_bytes(call) for masker in maskers)
                selecting[place] = own * size / self.cache.prefix.bytes_per_key
        first = self.block.rows.start
        counted = range(first + rows.start, first + rows.stop)
        self.probes.add_reads(counted, counts, united, visible, selecting)


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
    return len(one.maskers) == len(other.maskers) and all(
        a.stacks_with(b) for a, b in zip(one.maskers, other.maskers, strict=True)
    )
