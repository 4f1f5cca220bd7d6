"""The key-value cache of many rows over one shared, frozen prefix.

The context is read once; its keys and values are never copied or changed afterwards.  What a row
adds (the question, its generated tokens) lives in a short tail of its own.  Whatever methods keep
about keys (hashes, page bounds, ...) is computed once for the prefix and kept with it, and extended
by the new keys of each tail.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

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
    features: dict[Hashable, tuple[Features, Features]] = field(default_factory=dict)
    """Per method: what holds for all keys, and what was computed for each key."""

    @property
    def bytes_per_key(self) -> int:
        """Bytes of a key and its value in one key-value head."""
        tensors = (self.keys, self.values)
        return sum(tensor.shape[-1] * tensor.element_size() for tensor in tensors)


@dataclass(frozen=True)
class Prefix:
    """A context that was read: ``length`` tokens in all layers."""

    length: int
    layers: tuple[PrefixLayer, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of keys, values and of what methods keep about them."""
        total = 0
        for layer in self.layers:
            tensors = [layer.keys, layer.values]
            tensors += [
                t for fitted, encoded in layer.features.values() for t in (*fitted, *encoded)
            ]
            total += sum(tensor.nbytes for tensor in tensors)
        return total


class LayerCache:
    """One layer: the shared prefix and one tail per row.

    Rows are numbered as they lie in the batch; ``row_ids`` are their names, which do not change
    when other rows leave.
    """

    def __init__(self, layer: int, prefix: PrefixLayer, row_ids: list[int]) -> None:
        self.layer, self.prefix, self.row_ids = layer, prefix, row_ids
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
