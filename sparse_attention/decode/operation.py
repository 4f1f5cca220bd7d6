"""One attention operation: neighbouring rows over one segment of a context and their tails."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from torch import Tensor

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.fused import fused_attention, fused_pays
from sparse_attention.attention.geometry import Geometry
from sparse_attention.attention.paths import (
    add_selection,
    gathered_attention,
    gathering_pays,
    weigh_values,
)
from sparse_attention.attention.scores import SharedScores, sink_share
from sparse_attention.attention.selection import Selection
from sparse_attention.cache.context import Context
from sparse_attention.cache.view import KeyView, TailFeatures
from sparse_attention.config import AttentionConfig
from sparse_attention.decode.probes import Probes
from sparse_attention.decode.row import Row
from sparse_attention.model_facts import LayerSettings


class Block:
    """Neighbouring rows over the same context."""

    def __init__(self, context: Context, rows: Sequence[Row], first: int) -> None:
        """``first`` is the place of the first of the rows in the batch."""
        self.context, self.rows = context, rows
        self.own = slice(first, first + len(rows))
        self.maskers = [row.config.maskers for row in rows]
        self.groups = _groups(rows)
        """Rows whose configurations can be handled together, by their places in the block."""
        self.scored = sum(not row.config.is_positional for row in rows)
        """Rows that need scores; they come first."""
        self.reads_all = not any(self.maskers)
        self.decoding = any(row.decoding for row in rows)
        """Whether presses act while the rows generate."""
        self._known: dict[tuple[int, int], list[TailFeatures]] = {}

    def known(self, layer: int, segment: int) -> list[TailFeatures]:
        """What methods keep of the tail of each row over a segment."""
        place = layer, segment
        if place not in self._known:
            self._known[place] = [row.features.setdefault(place, {}) for row in self.rows]
        return self._known[place]


def blocks_of(rows: Sequence[Row]) -> list[Block]:
    """Neighbouring rows over the same context, put together."""
    blocks, first = [], 0
    for _, neighbours in groupby(rows, lambda row: id(row.context)):
        own = list(neighbours)
        blocks.append(Block(own[0].context, own, first))
        first += len(own)
    return blocks


class Operation:
    """What the rows of a block share over one segment.

    There may be more queries than the block has rows: they are only compared with dense attention.
    """

    def __init__(
        self,
        view: KeyView,
        geometry: Geometry,
        queries: Tensor,
        settings: LayerSettings,
        block: Block,
        dense_layer: bool,
        measured: bool = False,
    ) -> None:
        """See which rows need scores.

        Args:
            view: the keys.
            geometry: where they and the queries lie.
            queries: (R, H, G, Q, D), those of the block's rows first.
            settings: of the layer.
            block: the rows that read by their own configurations.
            dense_layer: whether they read everything here.
            measured: whether dense attention of all queries is asked for.
        """
        self.view, self.geometry, self.queries = view, geometry, queries
        self.settings, self.block, self.dense_layer = settings, block, dense_layer
        border = queries.shape[0] if measured or dense_layer else block.scored
        self._shared = SharedScores(queries, view, geometry, settings, border)

    def dense_output(self) -> Tensor:
        """Dense attention of all queries."""
        rows, sinks = range(self.queries.shape[0]), self.settings.sink_logits
        output = weigh_values(
            self._shared.probabilities(rows), self.view.segment.values, self.view.tail_values
        )
        return output if sinks is None else output * sink_share(self._shared.scores(rows), sinks)

    def run(self, output: Tensor, dense: Tensor | None, probes: Probes, whole: Geometry) -> None:
        """Fill ``output`` with the attention of the block's rows, and count what they read.

        Args:
            output: (rows, H, G, Q, D).
            dense: dense attention of all queries, if it is known.
            probes: to count in.
            whole: of dense attention over the whole context and the tails.
        """
        everything = self.dense_layer or self.block.reads_all
        if dense is None and everything:
            dense = self.dense_output()
        masked: list[tuple[range, Selection]] = []
        for rows in [range(len(self.block.rows))] if everything else self.block.groups:
            if not rows:
                continue
            call = None if everything or not self.block.maskers[rows[0]] else self._call(rows)
            if call is None:
                keys = self.geometry.key_positions
                selection = Selection.everything(keys.shape[0], keys.device)
            else:
                selection = self._select(call)
            self._count(rows, selection, call, probes, whole)
            own = slice(rows.start, rows.stop)
            if call is None and dense is not None:
                output[own] = dense[own]
            elif call is not None and fused_pays(call, selection):
                output[own] = fused_attention(call, selection, self.settings.sink_logits)
            elif call is not None and gathering_pays(
                call, selection, len(self.block.rows), self._shared.known(rows)
            ):
                output[own] = gathered_attention(call, selection, self.settings.sink_logits)
            else:
                masked.append((rows, selection))
        for part in self._shared.parts:
            together = [(rows, selection) for rows, selection in masked if rows[0] in part]
            if together:
                self._attend_masked(together, part, output)

    def _call(self, rows: range) -> AttentionCall:
        """What the methods of some rows see."""
        own = slice(rows.start, rows.stop)
        return AttentionCall(
            self.queries[own],
            self.view.rows(own),
            self.geometry,
            self.settings,
            rows,
            stack=self.block.maskers[own],
            batch=self.block.maskers,
            sample_keys=[row.sample_key for row in self.block.rows[own]],
            shared=self._shared,
        )

    def _select(self, call: AttentionCall) -> Selection:
        maskers = self.block.maskers[call.rows[0]]
        places = 0
        while places < len(maskers) and maskers[places].positional:
            places += 1
        stack = self.block.maskers[call.rows[0] : call.rows[-1] + 1]
        first = tuple(dict.fromkeys(methods[:places] for methods in stack))
        known = self.geometry.positional
        if first not in known:
            selection = Selection.nothing(call.shape[-1], call.device)
            for masker in maskers[:places]:
                selection = masker.select(call, selection)
            known[first] = selection
        selection = known[first]
        for masker in maskers[places:]:
            selection = masker.select(call, selection)
        newest = call.query_positions - call.key_positions[0]
        return selection.or_newest_where_empty(newest)

    def _attend_masked(
        self, masked: Sequence[tuple[range, Selection]], part: range, output: Tensor
    ) -> None:
        """Fill ``output`` for rows of a part whose selection is applied as a mask, together."""
        order = [row for rows, _ in masked for row in rows]
        scores, sinks = self._shared.scores(part), self.settings.sink_logits
        logits = scores.new_empty(scores.shape[1], len(order), *scores.shape[2:]).transpose(0, 1)
        place = 0
        for rows, selection in masked:
            chosen = scores[rows.start - part.start : rows.stop - part.start]
            add_selection(chosen, selection, out=logits[place : place + len(rows)])
            place += len(rows)
        weights = logits.transpose(0, 1).softmax(-1).transpose(0, 1)
        result = weigh_values(weights, self.view.segment.values, self.view.tail_values[order])
        output[order] = result if sinks is None else result * sink_share(logits, sinks)

    def _count(
        self,
        rows: range,
        selection: Selection,
        call: AttentionCall | None,
        probes: Probes,
        whole: Geometry,
    ) -> None:
        """Record what ``rows`` read, and what the methods of ``call`` read to choose it."""
        _, heads, group, queries, _ = self.queries.shape
        selecting = [0.0] * len(rows)
        if call is not None:
            size = self.view.segment.bytes_per_key
            selecting = [
                sum(masker.selection_bytes(call) for masker in maskers) / size
                for maskers in self.block.maskers[rows.start : rows.stop]
            ]
        first = self.block.own.start
        probes.add_reads(
            self.view.layer,
            range(first + rows.start, first + rows.stop),
            selection,
            (heads, group, queries),
            self.geometry,
            visible=whole.visible_total,
            selecting=selecting,
        )


def _groups(rows: Sequence[Row]) -> list[range]:
    """Neighbouring rows whose configurations can be handled together."""
    groups: list[range] = []
    for place, row in enumerate(rows):
        if groups and _alike(rows[groups[-1].start].config, row.config):
            groups[-1] = range(groups[-1].start, place + 1)
        else:
            groups.append(range(place, place + 1))
    return groups


def _alike(one: AttentionConfig, other: AttentionConfig) -> bool:
    """Whether one call serves both.

    Where other methods come after positional ones, all rows have the same of these: to leave
    out the same keys everywhere is what makes the others fast.
    """
    if len(one.maskers) != len(other.maskers):
        return False
    pairs = zip(one.maskers, other.maskers, strict=True)
    if one.is_positional:
        return all(a.stacks_with(b) for a, b in pairs)
    return all(a == b if a.positional else a.stacks_with(b) for a, b in pairs)
