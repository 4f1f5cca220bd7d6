"""Neighbouring rows over the same context, and how they attend to one segment of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import groupby, takewhile

from torch import Tensor

from sparse_attention.attention.beside import attend_beside_dense
from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.fused import fused_attention, fused_pays
from sparse_attention.attention.paths import (
    add_selection,
    gathered_attention,
    gathering_pays,
)
from sparse_attention.attention.scores import SharedScores, sink_share, weigh_values
from sparse_attention.attention.selection import Selection
from sparse_attention.cache.context import Context
from sparse_attention.config import AttentionConfig
from sparse_attention.decode.probes import Probes
from sparse_attention.decode.row import Row
from sparse_attention.maskers.base import Masker

_PIECE = 1 << 23
"""Attention weights of masked rows that are held at a time, with as many logits."""


class Stack:
    """Neighbouring rows of a block whose configurations can be handled together."""

    def __init__(self, rows: range, block: Sequence[Row], firsts: dict[Hashable, int]) -> None:
        """Take rows by their places in a block.

        Args:
            rows: the places.
            block: all rows of the block.
            firsts: numbers for what stacks of the batch begin with; extended.
        """
        own = block[rows.start : rows.stop]
        self.rows, self.maskers = rows, own[0].config.maskers
        self._own = [row.config.maskers for row in own]
        self._batch = [row.config.maskers for row in block]
        self._sample_keys = [row.sample_key for row in own]
        self._positional = len(list(takewhile(lambda masker: masker.positional, self.maskers)))
        """So many methods, the first ones, select by positions alone."""
        first = tuple(dict.fromkeys(maskers[: self._positional] for maskers in self._own))
        self._first = firsts.setdefault(first, len(firsts))
        """Stands for these of all rows; stacks with the same select the same by them."""
        self.choosing = [tuple(masker for masker in own if _reads(masker)) for own in self._own]
        """The methods of each row that read something to choose."""

    def call(self, shared: SharedScores) -> AttentionCall:
        """What the methods of the rows see."""
        return AttentionCall(
            shared, self.rows, stack=self._own, batch=self._batch, sample_keys=self._sample_keys
        )

    def select(self, call: AttentionCall) -> Selection:
        """What the rows read."""
        known = call.geometry.positional
        if self._first not in known:
            selection = Selection.nothing(call.shape[-1], call.device)
            for masker in self.maskers[: self._positional]:
                selection = masker.select(call, selection)
            known[self._first] = selection
        selection = known[self._first]
        for masker in self.maskers[self._positional :]:
            selection = masker.select(call, selection)
        return selection.or_newest_where_empty(call.geometry.newest)

    def selecting(self, call: AttentionCall) -> list[float]:
        """Bytes read to choose, over those of one key and its value: for each row."""
        size = call.view.segment.bytes_per_key
        return [
            sum(masker.selection_bytes(call) for masker in choosing) / size
            for choosing in self.choosing
        ]


class Block:
    """Neighbouring rows over the same context."""

    def __init__(
        self, context: Context, rows: Sequence[Row], first: int, firsts: dict[Hashable, int]
    ) -> None:
        """Put rows together.

        Args:
            context: what they read.
            rows: none at all where they are only compared with dense attention.
            first: the place of the first of them in the batch.
            firsts: see ``Stack``.
        """
        self.context, self.rows = context, rows
        self.own = slice(first, first + len(rows))
        self.stacks = [Stack(places, rows, firsts) for places in _stacks(rows)]
        self.features = [row.features for row in rows]
        """What methods keep of the tail of each row."""
        self.scored = sum(not row.config.is_positional for row in rows)
        """Rows that need scores; they come first."""
        self.reads_all = not any(stack.maskers for stack in self.stacks)
        """Whether all rows read all keys of their context."""
        self.decoding = any(row.decoding for row in rows)
        """Whether presses act while the rows generate."""

    def attend(
        self,
        shared: SharedScores,
        output: Tensor,
        probes: Probes,
        visible: int,
        *,
        measured: bool,
        everything: bool,
    ) -> Tensor | None:
        """Fill ``output`` with the attention of the rows over one segment; count what they read.

        Args:
            shared: the queries of the rows first, then such as are only compared.
            output: (rows, H, G, Q, D).
            probes: to count in.
            visible: keys that all queries of a head see in the whole context and the tails.
            measured: whether dense attention of all queries is asked for.
            everything: whether all rows read all keys here.

        Returns:
            Dense attention if it is asked for.
        """
        if everything:
            whole = shared.dense_output()
            output.copy_(whole[: len(self.rows)])
            everyone = range(self.own.start, self.own.stop)
            probes.add_reads(shared, everyone, shared.geometry.everything, visible=visible)
            return whole
        if measured:
            shared.scores(range(shared.queries.shape[0]))  # what selects finds them known
        masked: list[tuple[range, Selection]] = []
        unmasked: list[range] = []
        sinks = shared.settings.sink_logits
        for stack in self.stacks:
            rows = stack.rows
            own = slice(rows.start, rows.stop)
            places = range(self.own.start + rows.start, self.own.start + rows.stop)
            if not stack.maskers:
                selection = shared.geometry.everything
                probes.add_reads(shared, places, selection, visible=visible)
                if measured:
                    unmasked.append(rows)
                else:
                    masked.append((rows, selection))
                continue
            call = stack.call(shared)
            selection = stack.select(call)
            selecting = stack.selecting(call) if any(stack.choosing) else None
            probes.add_reads(shared, places, selection, visible=visible, selecting=selecting)
            if fused_pays(call, selection):
                fused_attention(call, selection, sinks, out=output[own])
            elif gathering_pays(call, selection, len(self.rows), shared.known(rows)):
                output[own] = gathered_attention(call, selection, sinks)
            else:
                masked.append((rows, selection))
        dense: Tensor | None = None
        if measured and shared.room:
            dense, found = attend_beside_dense(shared, masked)
            if found is not None:
                output[[row for rows, _ in masked for row in rows]] = found
                masked = []
        elif measured:
            dense = shared.dense_output()
        for rows in unmasked:
            assert dense is not None
            output[rows.start : rows.stop] = dense[rows.start : rows.stop]
        for part in shared.parts:
            together = [(rows, selection) for rows, selection in masked if rows[0] in part]
            for piece in _pieces(together, shared):
                _attend_masked(shared, piece, part, output)
        return dense


def blocks_of(rows: Sequence[Row]) -> list[Block]:
    """Neighbouring rows over the same context, put together."""
    blocks: list[Block] = []
    first, firsts = 0, dict[Hashable, int]()
    for _, neighbours in groupby(rows, lambda row: id(row.context)):
        own = list(neighbours)
        blocks.append(Block(own[0].context, own, first, firsts))
        first += len(own)
    return blocks


def _pieces(
    masked: Sequence[tuple[range, Selection]], shared: SharedScores
) -> Iterator[list[tuple[range, Selection]]]:
    """Rows that are worked on at a time."""
    _, heads, group, queries, _ = shared.queries.shape
    weights = heads * group * queries * shared.geometry.key_positions.shape[0]
    piece: list[tuple[range, Selection]] = []
    for rows, selection in masked:
        if piece and (rows.stop - piece[0][0].start) * weights > _PIECE:
            yield piece
            piece = []
        piece.append((rows, selection))
    if piece:
        yield piece


def _attend_masked(
    shared: SharedScores,
    masked: Sequence[tuple[range, Selection]],
    part: range,
    output: Tensor,
) -> None:
    """Fill ``output`` for rows of a part whose selection is applied as a mask, together."""
    order = [row for rows, _ in masked for row in rows]
    scores, view, sinks = shared.scores(part), shared.view, shared.settings.sink_logits
    logits = scores.new_empty(scores.shape[1], len(order), *scores.shape[2:]).transpose(0, 1)
    place = 0
    for rows, selection in masked:
        chosen = scores[rows.start - part.start : rows.stop - part.start]
        add_selection(chosen, selection, out=logits[place : place + len(rows)])
        place += len(rows)
    weights = logits.transpose(0, 1).softmax(-1).transpose(0, 1)
    result = weigh_values(weights, view.segment.values, view.tail_values[order])
    output[order] = result if sinks is None else result * sink_share(logits, sinks)


def _reads(masker: Masker) -> bool:
    """Whether choosing reads anything."""
    return type(masker).selection_bytes is not Masker.selection_bytes


def _stacks(rows: Sequence[Row]) -> list[range]:
    """Neighbouring rows whose configurations can be handled together."""
    stacks: list[range] = []
    for place, row in enumerate(rows):
        if stacks and _alike(rows[stacks[-1].start].config, row.config):
            stacks[-1] = range(stacks[-1].start, place + 1)
        else:
            stacks.append(range(place, place + 1))
    return stacks


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
