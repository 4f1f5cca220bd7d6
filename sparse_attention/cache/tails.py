"""What rows add to a context in one layer, and what methods know of these keys.

The context is never copied or changed.  What methods keep about its keys (hashes, page bounds, ...)
is computed once and kept with it; what they keep about a tail is extended by each new key.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sparse_attention.cache.prefix import (
    Features,
    KeptHeads,
    PrefixLayer,
)


class EncodedTail(NamedTuple):
    """What a method knows of the tail of one row."""

    tokens: int
    """Tokens of the tail that it covers."""
    tensors: Features


TailFeatures = dict[tuple[Hashable, int], EncodedTail]
"""What methods know of tails, by the name of the features and that of the row."""

_FIRST_CAPACITY = 64


class LayerCache:
    """One layer: the shared prefix and one tail per row.

    Rows are numbered as they lie in the batch; ``row_ids`` are their names, which do not change
    when other rows leave.
    """

    def __init__(self, layer: int, prefix: PrefixLayer, row_ids: list[int]) -> None:
        self.layer, self.prefix, self.row_ids = layer, prefix, row_ids
        self.head: int | None = None
        """The only key-value head that this is about; None for all of them."""
        self.model_heads = prefix.keys.shape[0]
        """Key-value heads of the layer in the model."""
        self.tail_length = 0
        self.tail_start = 0
        """Tokens at the start of the tails that are not held any more."""
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._features: TailFeatures = {}

    @property
    def prefix_keys(self) -> Tensor:
        """(kv_heads, P, head_dim)."""
        return self.prefix.keys

    @property
    def prefix_values(self) -> Tensor:
        """(kv_heads, P, head_dim)."""
        return self.prefix.values

    def tail_keys(self, rows: Sequence[int] | slice) -> Tensor:
        """(rows, kv_heads, t, head_dim), of the tokens that are held."""
        assert self._keys is not None, "the tail is read before anything was appended"
        return self._keys[rows, :, : self.tail_length - self.tail_start]

    def tail_values(self, rows: Sequence[int] | slice) -> Tensor:
        """(rows, kv_heads, t, head_dim), of the tokens that are held."""
        assert self._values is not None, "the tail is read before anything was appended"
        return self._values[rows, :, : self.tail_length - self.tail_start]

    def over(
        self, part: KeptHeads, rows: range, tail_from: int, features: TailFeatures
    ) -> LayerCache:
        """Some neighbouring rows over what is left of the context, for the heads of a part.

        It reads the tails of this cache, from token ``tail_from`` on.  ``features`` keeps what
        methods know of these tails from step to step.
        """
        assert self._keys is not None
        assert self._values is not None
        other = LayerCache(self.layer, part.layer, self.row_ids[rows.start : rows.stop])
        other.model_heads = self._keys.shape[1]
        other.head = part.heads.start if part.layer.keys.shape[0] < other.model_heads else None
        other.tail_length = self.tail_length - tail_from
        first = tail_from - self.tail_start
        place = (slice(rows.start, rows.stop), part.heads, slice(first, None))
        other._keys, other._values = self._keys[place], self._values[place]
        other._features = features
        return other

    def own_heads(self, tensor: Tensor) -> Tensor:
        """Of ``tensor`` (key-value or query heads of the model, ...) those that are here."""
        if self.head is None:
            return tensor
        group = tensor.shape[0] // self.model_heads
        return tensor[self.head * group : (self.head + 1) * group]

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
        if self._keys is None or self._values is None:
            return 0
        buffers = (self._keys, self._values)
        token = sum(buffer.shape[1] * buffer.shape[3] * buffer.element_size() for buffer in buffers)
        return token * (self.tail_length - tail_from)

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Append new keys and values (rows, kv_heads, n, head_dim) to the tails."""
        first = self.tail_length - self.tail_start
        end = first + keys.shape[2]
        self._keys = _with_room(self._keys, keys, first, end)
        self._values = _with_room(self._values, values, first, end)
        self._keys[:, :, first:end] = keys
        self._values[:, :, first:end] = values
        self.tail_length += keys.shape[2]

    def release_tail(self, until: int) -> None:
        """Hold the tails from token ``until`` on only."""
        if until > self.tail_start:
            self._keys = self.tail_keys(slice(None))[:, :, until - self.tail_start :].clone()
            self._values = self.tail_values(slice(None))[:, :, until - self.tail_start :].clone()
            self.tail_start = until

    def keep_rows(self, rows: Sequence[int], old_names: Mapping[int, int]) -> None:
        """Drop the tails of all other rows; repeats a row that is given several times.

        ``old_names`` are the names that the rows had, by those that they get.
        """
        if self._keys is not None and self._values is not None:
            index = torch.tensor(rows, device=self._keys.device)
            self._keys, self._values = self._keys[index], self._values[index]
        self._features = renamed_rows(self._features, old_names)

    @property
    def nbytes(self) -> int:
        """Bytes of all tails, their spare room included, and of what methods know of them."""
        known = features_nbytes(self._features)
        if self._keys is None or self._values is None:
            return known
        return known + self._keys.nbytes + self._values.nbytes

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
        known = self._features[names[0]].tokens if names[0] in self._features else 0
        if known < self.tail_length:
            left_over = self.prefix.keys.shape[1] % block
            complete = (left_over + known) // block
            new = encode(fitted, self._newest_keys(rows, complete * block - left_over))
            for index, name in enumerate(names):
                own = tuple(tensor[index : index + 1] for tensor in new)
                if complete:
                    before = self._features[name].tensors
                    own = _join(tuple(tensor[..., :complete] for tensor in before), own)
                self._features[name] = EncodedTail(self.tail_length, own)
        found = [self._features[name].tensors for name in names]
        return tuple(torch.cat(tensors) for tensors in zip(*found, strict=True))

    def _newest_keys(self, rows: Sequence[int], start: int) -> Tensor:
        """Keys of the tails from ``start`` on; below 0 they begin with the last of the prefix."""
        tail = self.tail_keys(rows)
        if start >= 0:
            return tail[:, :, start:]
        prefix = self.prefix.keys[None, :, start:].expand(len(rows), -1, -1, -1)
        return torch.cat([prefix, tail], 2)


def renamed_rows(features: TailFeatures, old_names: Mapping[int, int]) -> TailFeatures:
    """``features`` for rows with other names than before; those of other rows are left out."""
    return {
        (key, name): tensors
        for name, old in old_names.items()
        for (key, row), tensors in features.items()
        if row == old
    }


def features_nbytes(features: TailFeatures) -> int:
    """Bytes of ``features``; rows that were copied share theirs at first."""
    return held_nbytes([tensor for known in features.values() for tensor in known.tensors])


def held_nbytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of memory behind ``tensors``, shared memory once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor for tensor in tensors}
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


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
