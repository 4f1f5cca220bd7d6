"""What the rows of a batch add to their contexts: the question and the tokens of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from sparse_attention.cache.pair import both, is_part, pair_nbytes

if TYPE_CHECKING:
    from torch import Tensor

_FIRST_CAPACITY = 64


class Tails:
    """Keys and values of new tokens in one layer, equally many for each row of the batch."""

    def __init__(self) -> None:
        self.length = 0
        """Tokens that were appended."""
        self.released = 0
        """Tokens at the start that are not held any more."""
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._as_part = False
        """Whether values are held as a part of the keys."""

    @property
    def tensors(self) -> list[Tensor]:
        """The buffers of keys and values, (rows, H, capacity, D); none before the first token."""
        return [] if self._keys is None or self._values is None else [self._keys, self._values]

    @property
    def bytes_per_token(self) -> int:
        """Bytes of the keys and values of one token of one row."""
        if self._keys is None or self._values is None:
            return 0
        return pair_nbytes(self._keys[:1, :, :1], self._values[:1, :, :1])

    def read(self, rows: slice, heads: slice, first: int) -> tuple[Tensor, Tensor]:
        """Keys and values (rows, heads, t, D) of the tokens from number ``first`` on, as views."""
        assert self._keys is not None, "the tails are read before anything was appended"
        assert self._values is not None
        tokens = slice(first - self.released, self.length - self.released)
        return self._keys[rows, heads, tokens], self._values[rows, heads, tokens]

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Add new keys and values (rows, H, n, D)."""
        first = self.length - self.released
        end = first + keys.shape[2]
        old_keys, old_values = self._keys, self._values
        if old_keys is None:
            self._as_part = is_part(values, keys)
        if old_keys is None or end > old_keys.shape[2]:
            self._keys = _with_room(old_keys, keys, first, end)
            self._values = (
                self._keys[..., : values.shape[-1]]
                if self._as_part
                else _with_room(old_values, values, first, end)
            )
        assert self._keys is not None
        assert self._values is not None
        self._keys[:, :, first:end] = keys
        if not self._as_part:
            self._values[:, :, first:end] = values
        self.length += keys.shape[2]

    def release(self, until: int) -> None:
        """Hold the tokens from number ``until`` on only."""
        if until > self.released:
            kept = self.read(slice(None), slice(None), until)
            self._keys, self._values = both(*kept, torch.clone)
            self.released = until

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch; one that is named several times is copied."""
        if self._keys is not None and self._values is not None:
            index = torch.tensor(rows, device=self._keys.device)
            self._keys, self._values = both(self._keys, self._values, lambda old: old[index])


def _with_room(buffer: Tensor | None, new: Tensor, used: int, end: int) -> Tensor:
    """``buffer`` with room for ``end`` tokens; it doubles, so that appending stays cheap."""
    rows, heads, _, width = new.shape
    grown = new.new_empty(rows, heads, max(_FIRST_CAPACITY, 2 * end), width)
    if buffer is not None:
        grown[:, :, :used] = buffer[:, :, :used]
    return grown
