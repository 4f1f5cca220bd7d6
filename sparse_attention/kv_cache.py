"""The key-value cache of many rows over one shared, frozen prefix.

The context is read once; its keys and values are never copied or changed afterwards.  What a row
adds (the question, its generated tokens) lives in a short tail of its own.  Whatever methods keep
about keys (hashes, page bounds, ...) is computed once for the prefix and kept with it, and extended
by the new keys of each tail.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .prefill_statistics import PrefillStatistics

Features = tuple[Tensor, ...]
"""Tensors that a method keeps; see ``AttentionCall.key_features`` for their shapes."""

_FIRST_CAPACITY = 64


@dataclass(frozen=True)
class PrefixLayer:
    """Keys and values of one layer, each (kv_heads, P, head_dim).

    ``start`` is the position of the first key: above 0 in layers with a sliding window, which keep
    only the end of the context.
    """

    keys: Tensor
    values: Tensor
    start: int
    sliding: bool = False
    """Whether the layer has a sliding window."""
    features: dict[Hashable, tuple[Features, Features]] = field(default_factory=dict)
    """Per method: what holds for all keys, and what was computed for each key."""

    @property
    def bytes_per_key(self) -> int:
        """Bytes of a key and its value in one key-value head."""
        tensors = (self.keys, self.values)
        return sum(tensor.shape[-1] * tensor.element_size() for tensor in tensors)

    @property
    def kv_nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.keys.nbytes + self.values.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes of keys, values and of what methods keep about them."""
        features = [t for parts in self.features.values() for tensors in parts for t in tensors]
        return self.kv_nbytes + sum(tensor.nbytes for tensor in features)


@dataclass(frozen=True)
class KeptHeads:
    """The context keys that a press left to some neighbouring heads, equally many to each."""

    heads: slice
    layer: PrefixLayer
    """In the order of the sequence, numbered from 0; ``start`` is above 0 in a whole layer."""
    positions: Tensor
    """(heads, n) int64: where the keys were in the sequence."""


@dataclass(frozen=True)
class KeptLayer:
    """What is left of a context in one layer.

    All heads together where each keeps equally many keys, else one head at a time: a ragged layout
    that holds no more than what is kept.
    """

    parts: tuple[KeptHeads, ...]
    tail_from: int
    """Tokens of the tail that were taken into the context."""

    @property
    def kv_nbytes(self) -> int:
        """Bytes of keys and values."""
        return sum(part.layer.kv_nbytes for part in self.parts)


@dataclass(frozen=True)
class KeptContext:
    """What presses left of a context."""

    layers: tuple[KeptLayer, ...]
    shift: int = 0
    """How much the positions of new tokens were lowered."""

    @property
    def kv_nbytes(self) -> int:
        """Bytes of keys and values."""
        return sum(layer.kv_nbytes for layer in self.layers)


class KeptContexts:
    """What presses left of one context, the most recently used of them."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, KeptContext] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], KeptContext]) -> KeptContext:
        """The entry of this name, computed if it is not there."""
        if key not in self._entries:
            self._entries[key] = compute()
        self._entries.move_to_end(key)
        return self._entries[key]

    def shrink(self, max_bytes: int, shared: Sequence[PrefixLayer]) -> None:
        """Forget the least recently used ones until all take ``max_bytes`` at most."""
        while self._entries and self.nbytes(shared) > max_bytes:
            self._entries.popitem(last=False)

    def nbytes(self, shared: Sequence[PrefixLayer]) -> int:
        """Bytes of all of them, but for layers that are ``shared`` with the whole context."""
        whole = {id(layer) for layer in shared}
        return sum(
            part.layer.nbytes + part.positions.nbytes
            for entry in self._entries.values()
            for layer in entry.layers
            for part in layer.parts
            if id(part.layer) not in whole
        )


@dataclass(frozen=True)
class Prefix:
    """A context that was read: ``length`` tokens in all layers."""

    length: int
    layers: tuple[PrefixLayer, ...]
    statistics: PrefillStatistics = field(default_factory=PrefillStatistics)
    kept: KeptContexts = field(default_factory=KeptContexts, repr=False)
    """By presses and the layers that they leave alone."""

    @property
    def kv_nbytes(self) -> int:
        """Bytes of keys and values."""
        return sum(layer.kv_nbytes for layer in self.layers)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is held: keys, values, features, statistics and what presses left."""
        own = sum(layer.nbytes for layer in self.layers)
        return own + self.statistics.nbytes + self.kept.nbytes(self.layers)

    def trim(self) -> None:
        """Bound what presses left by the bytes of the context itself."""
        self.kept.shrink(self.kv_nbytes, self.layers)


class LayerCache:
    """One layer: the shared prefix and one tail per row.

    Rows are numbered as they lie in the batch; ``row_ids`` are their names, which do not change
    when other rows leave.
    """

    def __init__(self, layer: int, prefix: PrefixLayer, row_ids: list[int]) -> None:
        self.layer, self.prefix, self.row_ids = layer, prefix, row_ids
        self.all_heads = prefix.keys.shape[0]
        """Key-value heads of the layer."""
        self.head: int | None = None
        """The only one of them that this is about; None for all of them."""
        self.tail_length = 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._features: dict[tuple[Hashable, int], Features] = {}
        self._encoded: dict[tuple[Hashable, int], int] = {}
        """Keys of a tail that its features cover."""

    @property
    def prefix_keys(self) -> Tensor:
        """(kv_heads, P, head_dim)."""
        return self.prefix.keys

    @property
    def prefix_values(self) -> Tensor:
        """(kv_heads, P, head_dim)."""
        return self.prefix.values

    def tail_keys(self, rows: Sequence[int] | slice) -> Tensor:
        """(rows, kv_heads, t, head_dim)."""
        assert self._keys is not None, "the tail is read before anything was appended"
        return self._keys[rows, :, : self.tail_length]

    def tail_values(self, rows: Sequence[int] | slice) -> Tensor:
        """(rows, kv_heads, t, head_dim)."""
        assert self._values is not None, "the tail is read before anything was appended"
        return self._values[rows, :, : self.tail_length]

    def over(
        self,
        part: KeptHeads,
        rows: range,
        tail_from: int,
        features: dict[tuple[Hashable, int], Features],
    ) -> LayerCache:
        """Some neighbouring rows over what is left of the context, for the heads of a part.

        It reads the tails of this cache, from token ``tail_from`` on.  ``features`` keeps what
        methods know of these tails from step to step.
        """
        assert self._keys is not None
        assert self._values is not None
        other = LayerCache(self.layer, part.layer, self.row_ids[rows.start : rows.stop])
        other.all_heads = self.all_heads
        other.head = part.heads.start if part.layer.keys.shape[0] < self._keys.shape[1] else None
        other.tail_length = self.tail_length - tail_from
        place = (slice(rows.start, rows.stop), part.heads, slice(tail_from, None))
        other._keys, other._values = self._keys[place], self._values[place]
        other._features = features
        return other

    def own_part(self, per_head: Tensor) -> Tensor:
        """What belongs to the heads here, of a tensor with equally many entries for every head."""
        if self.head is None:
            return per_head
        each = per_head.shape[0] // self.all_heads
        return per_head[self.head * each : (self.head + 1) * each]

    def with_tail(self, rows: range, keys: Tensor) -> LayerCache:
        """Some neighbouring rows with other tail keys, (rows, kv_heads, t, head_dim)."""
        assert self._values is not None
        other = LayerCache(self.layer, self.prefix, self.row_ids[rows.start : rows.stop])
        other.tail_length = self.tail_length
        other._keys, other._values = keys, self._values[rows.start : rows.stop]
        return other

    def replace_tail_keys(self, rows: range, keys: Tensor) -> None:
        """Put other keys (rows, kv_heads, t, head_dim) in place of those of some rows."""
        assert self._keys is not None
        self._keys[rows.start : rows.stop, :, : self.tail_length] = keys

    def tail_nbytes(self, tail_from: int) -> int:
        """Bytes of keys and values of one tail, from token ``tail_from`` on."""
        keys, values = self.tail_keys(slice(0, 1)), self.tail_values(slice(0, 1))
        return keys[:, :, tail_from:].nbytes + values[:, :, tail_from:].nbytes

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Append new keys and values (rows, kv_heads, n, head_dim) to the tails."""
        end = self.tail_length + keys.shape[2]
        self._keys = _with_room(self._keys, keys, self.tail_length, end)
        self._values = _with_room(self._values, values, self.tail_length, end)
        self._keys[:, :, self.tail_length : end] = keys
        self._values[:, :, self.tail_length : end] = values
        self.tail_length = end

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Drop the tails of all other rows; repeats a row that is named several times."""
        if self._keys is not None and self._values is not None:
            index = torch.tensor(rows, device=self._keys.device)
            self._keys, self._values = self._keys[index], self._values[index]

    def prefix_features(
        self,
        key: Hashable,
        fit: Callable[[Tensor], Features],
        encode: Callable[[Features, Tensor], Features],
        block: int = 1,
    ) -> tuple[Features, Features]:
        """What ``fit`` and ``encode`` make of the prefix, computed when first asked for.

        Only complete blocks of keys are encoded.
        """
        known = self.prefix.features
        if key not in known:
            keys = self.prefix.keys[None]
            fitted = fit(keys)
            encoded = encode(fitted, keys[:, :, : keys.shape[2] // block * block])
            known[key] = fitted, encoded
        return known[key]

    def tail_features(
        self,
        key: Hashable,
        rows: Sequence[int],
        fitted: Features,
        encode: Callable[[Features, Tensor], Features],
        block: int = 1,
    ) -> Features:
        """What ``encode`` makes of the tails of ``rows``; only new keys are encoded.

        The keys after the last complete block of the prefix come before the tail.  A block that
        was not complete is encoded again when keys are added to it.
        """
        names = [(key, self.row_ids[row]) for row in rows]
        known = self._encoded.get(names[0], 0)
        if known < self.tail_length:
            left_over = self.prefix.keys.shape[1] % block
            complete = (left_over + known) // block
            new = encode(fitted, self._newest_keys(rows, complete * block - left_over))
            for index, name in enumerate(names):
                own = tuple(tensor[index : index + 1] for tensor in new)
                if complete:
                    kept = tuple(tensor[..., :complete] for tensor in self._features[name])
                    own = _join(kept, own)
                self._features[name] = own
                self._encoded[name] = self.tail_length
        found = [self._features[name] for name in names]
        return tuple(torch.cat(tensors) for tensors in zip(*found, strict=True))

    def _newest_keys(self, rows: Sequence[int], start: int) -> Tensor:
        """Keys of the tails from ``start`` on; below 0 they begin with the last of the prefix."""
        tail = self.tail_keys(rows)
        if start >= 0:
            return tail[:, :, start:]
        prefix = self.prefix.keys[None, :, start:].expand(len(rows), -1, -1, -1)
        return torch.cat([prefix, tail], 2)


class SharedPrefixCache:
    """A prefix and the tails of a batch of rows, as the model's forward sees a cache."""

    def __init__(self, prefix: Prefix, rows: int) -> None:
        self.prefix = prefix
        self.row_ids = list(range(rows))
        self.layers = [
            LayerCache(index, layer, self.row_ids) for index, layer in enumerate(prefix.layers)
        ]

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Append to the tails of a layer; returns what was given, which is not the whole cache."""
        self.layers[layer_idx].append(key_states, value_states)
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens of the prefix and of the tail."""
        return self.prefix.length + self.layers[layer_idx].tail_length

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch only, so that finished ones cost nothing."""
        self.row_ids[:] = [self.row_ids[row] for row in rows]
        for layer in self.layers:
            layer.keep_rows(rows)

    def expand(self, rows: int) -> None:
        """Turn the only row into ``rows`` equal ones."""
        assert len(self.row_ids) == 1, "only a single row can be expanded"
        self.keep_rows([0] * rows)
        self.row_ids[:] = range(rows)


def _with_room(buffer: Tensor | None, new: Tensor, used: int, end: int) -> Tensor:
    """``buffer`` with room for ``end`` keys; grows by doubling, so that appending stays cheap."""
    if buffer is not None and end <= buffer.shape[2]:
        return buffer
    rows, heads, _, width = new.shape
    grown = new.new_empty(rows, heads, max(_FIRST_CAPACITY, 2 * end), width)
    if buffer is not None:
        grown[:, :, :used] = buffer[:, :, :used]
    return grown


def _join(left: Features, right: Features) -> Features:
    return tuple(torch.cat(pair, -1) for pair in zip(left, right, strict=True))
