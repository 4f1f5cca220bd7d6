"""The rows of a batch as transformers' models see a cache."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Self

from torch import Tensor
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DummyLayer

from sparse_attention.cache.context import States
from sparse_attention.decode.batch import BatchDecoder
from sparse_attention.decode.decoder import Decoder
from sparse_attention.hf.layers import own_cache
from sparse_attention.hf.reads import Reads
from sparse_attention.hf.states import RowStates


class RowCache(Cache):
    """Takes new keys and values, and gives back only these: what attention reads is ours.

    Other states of layers are the model's own to change; each row has a copy.
    """

    is_compileable = False
    is_croppable = False

    def __new__(cls, model: PreTrainedModel, *_: object) -> Self:
        """One of the class that the model asks for, too."""
        own = own_cache(model)
        kind = cls if own is None else type(cls.__name__, (cls, own), {})
        return object.__new__(kind)

    def __init__(self, model: PreTrainedModel) -> None:
        Cache.__init__(self, layers=[])
        self.reads = Reads(model)
        self.batch: Decoder | BatchDecoder | None = None
        """The rows; None until they are known."""
        self._before = 0
        self._states: RowStates | None = None

    def begin(self, batch: Decoder | BatchDecoder, before: int, frozen: Sequence[States]) -> None:
        """Go on after ``before`` tokens that were read, from the states of each row."""
        self.batch, self._before = batch, before
        states = self._states = RowStates(frozen)
        count = max([*self.reads.kept.places, *states.layers], default=-1) + 1
        self.layers = [states.layers.get(place) or DummyLayer() for place in range(count)]
        self.linear_cache = states.linear

    def take_states(self, rows: Sequence[int]) -> None:
        """Go on with the states of these rows; what one row has read may be for all."""
        if self._states is not None and self._states.rows > 1:
            self._states.take(rows)

    def spread_states(self, rows: int) -> None:
        """So many rows go on from what one row has read for all."""
        if self._states is not None and self._states.rows == 1 < rows:
            self._states.take([0] * rows)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Append to the tails of a layer; returns what was given, which is not the whole cache."""
        assert self.batch is not None, "a forward begins with the prompts"
        reads, held = self.reads, (key_states, value_states)
        reads.newest[layer_idx] = weakref.ref(key_states), key_states.shape[1]
        if reads.expanding:
            held = reads.held(layer_idx, *held)
        self.batch.tails[reads.kept.numbers[layer_idx]].append(*held)
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens that were read, padding among them."""
        if self.batch is None:
            return 0
        # A layer that keeps no keys has read as many as the first one that does.
        number = self.reads.kept.numbers.get(layer_idx, 0)
        return self._before + self.batch.tails[number].length

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Keys of all tokens with the next ones, and the first of them."""
        return self.get_seq_length(layer_idx) + query_length, 0


class DecoderCache(RowCache):
    """Of rows over one context."""

    def __init__(self, model: PreTrainedModel, decoder: Decoder) -> None:
        super().__init__(model)
        self.decoder = decoder
        self.begin(decoder, decoder.context.length, [decoder.context.states])

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch."""
        self.decoder.keep_rows(rows)
        self.take_states(rows)


class GenerationCache(RowCache):
    """Our cache as ``generate`` and the model's forward see one: empty until the first forward."""

    batch: BatchDecoder | None

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Go on with the rows that beam search has picked."""
        self._take(beam_idx.tolist())

    def batch_select_indices(self, indices: Tensor) -> None:
        """Go on with these rows, in this order."""
        self._take(indices.tolist())

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Go on with every row ``repeats`` times."""
        rows = 0 if self.batch is None else self.batch.rows
        self._take([row for row in range(rows) for _ in range(repeats)])

    def _take(self, rows: list[int]) -> None:
        if self.batch is not None and rows != list(range(self.batch.rows)):
            self.batch.take_rows(rows)
            self.take_states(rows)
