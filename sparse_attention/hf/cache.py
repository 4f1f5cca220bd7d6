"""The rows of a batch as transformers' models see a cache."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor, nn
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DummyLayer

from sparse_attention.cache.context import States
from sparse_attention.decode.batch import BatchDecoder
from sparse_attention.decode.decoder import Decoder
from sparse_attention.hf.layers import own_cache
from sparse_attention.hf.reads import Reads
from sparse_attention.hf.states import RowStates
from sparse_attention.model_facts import LayerSettings


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
        self._reads = Reads(model)
        self._states: RowStates | None = None

    @abstractmethod
    def _append(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Append new keys and values (R, H, n, D) of a layer that keeps keys."""

    @abstractmethod
    def _attend(
        self, layer: int, queries: Tensor, settings: LayerSettings, *, observed: bool
    ) -> Tensor:
        """Attention of new tokens; see ``Decoder.attend``."""

    def begin_states(self, frozen: Sequence[States]) -> None:
        """Go on from the states of each row."""
        states = self._states = RowStates(frozen)
        count = max([*self._reads.kept.places, *states.layers], default=-1) + 1
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
        self._reads.note(layer_idx, key_states)
        held = self._reads.held(layer_idx, key_states, value_states)
        self._append(self._reads.kept.numbers[layer_idx], *held)
        return key_states, value_states

    def _number(self, place: int) -> int:
        """Among layers that keep keys, that of a layer of the model; else the first."""
        return self._reads.kept.numbers.get(place, 0)

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Keys of all tokens with the next ones, and the first of them."""
        return self.get_seq_length(layer_idx) + query_length, 0

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, given: dict[str, Any]
    ) -> Tensor:
        """Our attention as an attention module asks for it.

        Args:
            module: the attention module.
            query: (rows, heads, n, D).
            key: new keys (rows, kv_heads, n, D).
            given: keywords of an attention function.

        Returns:
            (rows, heads, n, d), with the width d of its values.
        """
        read = self._reads.read(module, query, key, given)
        attended = self._attend(read.layer, read.queries, read.settings, observed=read.first)
        return read.outputs(attended)


class DecoderCache(RowCache):
    """Of rows over one context."""

    def __init__(self, model: PreTrainedModel, decoder: Decoder) -> None:
        super().__init__(model)
        self.decoder = decoder
        self.begin_states([decoder.context.states])

    def _append(self, layer: int, keys: Tensor, values: Tensor) -> None:
        self.decoder.tails[layer].append(keys, values)

    def _attend(
        self, layer: int, queries: Tensor, settings: LayerSettings, *, observed: bool
    ) -> Tensor:
        return self.decoder.attend(layer, queries, settings, observed=observed)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens that were read."""
        return self.decoder.context.length + self.decoder.tails[self._number(layer_idx)].length

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch."""
        self.decoder.keep_rows(rows)
        self.take_states(rows)


class GenerationCache(RowCache):
    """Our cache as ``generate`` and the model's forward see one: empty until the first forward."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self.batch: BatchDecoder | None = None
        self._columns = 0

    def begin(self, batch: BatchDecoder, columns: int) -> None:
        """Go on from prompts that were read: ``columns`` of the padded input are in contexts."""
        self.batch, self._columns = batch, columns
        self.begin_states(batch.states)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns of the padded input that were processed."""
        if self.batch is None:
            return 0
        return self._columns + self.batch.tail_length(self._number(layer_idx))

    def _append(self, layer: int, keys: Tensor, values: Tensor) -> None:
        assert self.batch is not None, "a forward begins with the prompts"
        self.batch.append(layer, keys, values)

    def _attend(
        self, layer: int, queries: Tensor, settings: LayerSettings, *, observed: bool
    ) -> Tensor:
        assert self.batch is not None, "a forward begins with the prompts"
        return self.batch.attend(layer, queries, settings, observed=observed)

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
