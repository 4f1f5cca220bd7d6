"""Rows of one batch over one context: from the question to the last token of the answers.

The order of a question is known here alone.  Where attention is sparse from the question on,
presses compress the context and then all rows read the question.  Where it is sparse from the
first generated token on, a single row reads the question densely, presses compress what they are to
see, and the row becomes all rows.  Then each step reads one token of every row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from sparse_attention.attention.beside import room_beside_dense
from sparse_attention.attention.geometry import Geometries
from sparse_attention.attention.scores import SharedScores
from sparse_attention.cache.context import Context
from sparse_attention.cache.pair import both
from sparse_attention.cache.statistics import PrefillStatistics
from sparse_attention.cache.tails import Tails
from sparse_attention.cache.view import KeyView
from sparse_attention.config import AttentionConfig
from sparse_attention.decode.block import Block, blocks_of
from sparse_attention.decode.memory import batch_nbytes, dense_nbytes, kept_nbytes
from sparse_attention.decode.probes import Probes, Turns
from sparse_attention.decode.recompress import recompressed, remember_queries
from sparse_attention.decode.rotation import dense_at_true_places, lower_question
from sparse_attention.decode.row import Row
from sparse_attention.model_facts import LayerSettings
from sparse_attention.presses import Press
from sparse_attention.presses.compress import compress, rotary_of
from sparse_attention.protocol import Protocol

_ALL = slice(None)

Visit = Callable[[int, Tensor, Tensor, LayerSettings], None]
"""Gets a layer, queries (H, G, n, D) of new tokens, keys (H, m, D) of all tokens, both after the
positions were encoded, and what the layer says about its attention."""


class Decoder:
    """The attention of a batch of rows, each with its own configuration, over one context.

    Use it as follows; ``forward`` processes new tokens of ``asked_rows`` rows::

        with decoder.question():
            forward(question)
        while ...:
            forward(next_tokens)
            decoder.end_step()
    """

    def __init__(
        self,
        context: Context,
        configs: Sequence[AttentionConfig],
        sample_keys: Sequence[str],
        protocol: Protocol,
        *,
        measure_error: bool = False,
        error_every: int = 1,
        frees: bool = False,
    ) -> None:
        """For one row of each configuration.

        Args:
            context: it is only read.
            configs: sorted by ``AttentionConfig.rank``.
            sample_keys: of each row; see ``Row``.
            protocol: where attention is sparse.
            measure_error: whether to compare attention outputs with dense attention.
            error_every: of so many layers and steps, which one is compared is drawn for each
                sample, so that the error is estimated without bias.
            frees: whether to hold no more of the context than what is read of it.
        """
        self.context, self.protocol, self.measure_error = context, protocol, measure_error
        self._context_nbytes = context.kv_nbytes  # also when it is not held any more
        self.tails = [Tails() for _ in context.layers]
        self._probes = Probes(len(configs), len(context.layers), context.layers[0].device)
        rows = zip(configs, sample_keys, self._probes.probes[:-1], strict=True)
        self.rows = [Row(config, key, probe, context) for config, key, probe in rows]
        self._statistics, self._frees = context.statistics, frees and not measure_error
        self._reads_densely = False
        self._turns = Turns(error_every, *sample_keys[:1])
        self._arrange()

    def _arrange(self) -> None:
        """Put neighbouring rows over the same context into blocks."""
        self._blocks, self._geometries = blocks_of(self.rows), Geometries()
        if self.measure_error and self._blocks[0].context is not self.context:
            self._blocks.insert(0, Block(self.context, [], 0, {}))
        self._probes.assign([row.probe for row in self.rows])
        self.position_shifts = [row.context.shift for row in self.rows]
        """How much lower the positions of new tokens are than their places, for each row; 0 while a
        question is read densely."""

    @property
    def asked_rows(self) -> int:
        """Rows for which new tokens are processed: one while it reads a question for all."""
        return 1 if self._reads_densely else len(self.rows)

    @contextlib.contextmanager
    def question(self, visit: Visit | None = None) -> Iterator[None]:
        """Inside, the question is read; afterwards the answers can begin.

        A question that is read densely is shown to ``visit``.
        """
        self._visit = visit or self._observe_question
        if self.protocol.sparse_from == "question":
            self._compress(None)
            self._release()
            yield
        else:
            self._reads_densely = True
            self.position_shifts = [0] * len(self.rows)
            yield
            self._reads_densely = False
            seen = None
            if self.protocol.press_sees_question:
                tails = [tail.read(slice(0, 1), _ALL, 0) for tail in self.tails]
                seen = [both(keys[0], values[0], torch.clone) for keys, values in tails]
            self._compress(seen)
            for tail in self.tails:
                tail.keep_rows([0] * len(self.rows))
            for block in self._blocks:
                lower_question(block, self.tails, self._statistics.facts)
            self._release()
        self.end_step()

    def _compress(self, seen: Sequence[tuple[Tensor, Tensor]] | None) -> None:
        """Let presses act; ``seen`` are keys and values (H, t, D) of a question that they see."""
        contexts: dict[tuple[Press, ...], Context] = {(): self.context}
        for row in self.rows:
            presses = row.config.presses
            if presses not in contexts:
                contexts[presses] = self._compressed(presses, seen)
            row.read(contexts[presses])
        self._arrange()

    def _release(self) -> None:
        """Hold no more of the whole context than what some row reads of it."""
        if self._frees and all(row.config.presses for row in self.rows):
            self.context = self.context.without_keys()
            if not any(row.decoding for row in self.rows):
                self._statistics = PrefillStatistics()

    def _compressed(
        self, presses: tuple[Press, ...], seen: Sequence[tuple[Tensor, Tensor]] | None
    ) -> Context:
        untouched = self.protocol.dense_layers
        if seen is None:
            return self.context.derived.get(
                (presses, untouched), lambda: compress(self.context, presses, untouched=untouched)
            )
        return compress(
            self.context, presses, untouched=untouched, statistics=self._statistics, tails=seen
        )

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch; one that is named several times is copied."""
        for tail in self.tails:
            tail.keep_rows(rows)
        self.rows = [
            self.rows[place].copy() if place in rows[:number] else self.rows[place]
            for number, place in enumerate(rows)
        ]
        self._arrange()

    def share_probe(self) -> None:
        """Count what all rows read together, in the probe of the first."""
        for row in self.rows:
            row.probe = self.rows[0].probe
        self._probes.assign([row.probe for row in self.rows])

    def stop_measuring(self, row: int) -> None:
        """Count nothing more for a row, because its answer has ended."""
        if self.rows[row].probe is not self._probes.unread:
            self.rows[row].probe = self._probes.unread
            self._probes.assign([one.probe for one in self.rows])

    def end_step(self) -> None:
        """New tokens have passed all layers: compress what has to be, note what is held."""
        self._turns.step += 1
        self._geometries = Geometries()
        untouched = self.protocol.dense_layers
        decoding = [(place, row) for place, row in enumerate(self.rows) if row.decoding is not None]
        for place, row in decoding:
            left = recompressed(row, place, self.tails, self._statistics, untouched)
            if left is not None:
                row.read(left)
        if decoding:
            self._arrange()
        for block in self._blocks:
            if block.context is not self.context:
                share = kept_nbytes(block.context, self.tails) / self.dense_row_nbytes
                for row in block.rows:
                    row.probe.kept_share = share
        if self._frees:
            for index, tail in enumerate(self.tails):
                tail.release(min(block.context.layers[index].taken for block in self._blocks))

    @property
    def dense_row_nbytes(self) -> int:
        """Bytes of keys and values that dense attention holds for one row."""
        return dense_nbytes(self._context_nbytes, self.tails)

    @property
    def nbytes(self) -> int:
        """Bytes that are held for all rows, with what methods and presses keep."""
        return batch_nbytes(self.context, self.rows, self.tails) + self._statistics.nbytes

    def attend(
        self, layer: int, queries: Tensor, settings: LayerSettings, *, observed: bool = True
    ) -> Tensor:
        """Attention of new tokens whose keys and values are already in the tails.

        Args:
            layer: index of the layer.
            queries: (R, H, G, Q, D).
            settings: of the layer.
            observed: whether presses rank keys by these queries; not by those of a layer of the
                model that reads the keys of another one.

        Returns:
            (R, H, G, Q, d) float32, with the width d of values.
        """
        tail, dense_layer = self.tails[layer], layer in self.protocol.dense_layers
        first, end = self.context.layers[layer].segments[0], self.context.length + tail.length
        seen = queries.shape[3], settings.sliding_window, queries.device, settings.chunk
        whole = self._geometries[first.start, end, *seen]
        if self._reads_densely:
            view = KeyView.whole(layer, self.context, tail, slice(0, 1))
            if observed:
                keys = torch.cat([view.segment.keys, view.tail_keys[0]], 1)
                self._visit(layer, queries[0], keys, settings)
            return SharedScores(queries, view, whole, settings).dense_output()
        width = first.values.shape[-1]
        output = queries.new_empty(*queries.shape[:-1], width, dtype=torch.float32)
        dense = None
        compared = self.measure_error and self._turns.come(layer)
        for block in self._blocks:
            of_context = block.context.layers[layer]
            of_context = of_context if of_context.read_on is None else of_context.here
            measured = compared and block.context is self.context
            if not (measured or block.rows):
                continue
            everything = dense_layer or block.reads_all
            rows = _ALL if measured else block.own
            for segment in of_context.segments:
                tails = tail.read(rows, segment.heads, of_context.taken)
                geometry = whole
                if block.context is not self.context:
                    end = segment.end + tails[0].shape[2]
                    geometry = self._geometries[segment.start, end, *seen]
                asking, length = queries[rows, segment.heads], geometry.key_positions.shape[0]
                beside = measured and not everything
                room = room_beside_dense(len(block.rows), asking, length) if beside else 0
                shared = SharedScores(
                    asking,
                    KeyView(layer, segment, *tails, queries.shape[1], block.features),
                    geometry,
                    settings if settings.sink_logits is None else settings.of_heads(segment.heads),
                    None if measured or everything else block.scored,
                    room,
                )
                found = block.attend(
                    shared,
                    output[block.own, segment.heads],
                    self._probes,
                    whole.visible_total,
                    measured=measured,
                    everything=everything,
                )
                dense = found if measured else dense
            if block.decoding and observed:
                for place, row in enumerate(block.rows, block.own.start):
                    remember_queries(row, layer, queries[place], self._statistics)
            if dense is not None and block.context.shift:
                own, rotary = block.own, rotary_of(self._statistics.facts[layer])
                view = KeyView.whole(layer, self.context, tail, own)
                dense[own] = dense_at_true_places(
                    view, whole, queries[own], settings, block, rotary
                )
        if self.measure_error:
            self._probes.add_errors(layer, output, dense, self._turns.every)
        return output

    def _observe_question(
        self, layer: int, queries: Tensor, keys: Tensor, settings: LayerSettings
    ) -> None:
        """A ``Visit`` by what presses will rank keys by."""
        if not self.protocol.press_sees_question or layer not in self._statistics.facts:
            return
        if self._statistics is self.context.statistics:
            self._statistics = self._statistics.fork()
        self._statistics.observe(layer, queries, keys, self._statistics.facts[layer])
