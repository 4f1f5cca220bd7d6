"""The keys that one attention operation sees: a segment of a context, then tails of rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from sparse_attention.cache.context import Context, Features, Segment
from sparse_attention.cache.tails import Tails

if TYPE_CHECKING:
    from torch import Tensor


TailFeatures = dict[Hashable, Features]
"""What methods keep of the tail of one row, by layer, segment and the name of the features."""


@dataclass(frozen=True)
class KeyView:
    """One segment, and the tails of R neighbouring rows that read it."""

    layer: int
    segment: Segment
    tail_keys: Tensor
    """(R, H, t, D)."""
    tail_values: Tensor
    """(R, H, t, D)."""
    model_heads: int
    """Key-value heads of the layer, of which the segment may have some."""
    known: Sequence[TailFeatures] = ()
    """What methods keep of the tail of each row; extended by those that come to know new keys."""

    @classmethod
    def whole(cls, layer: int, context: Context, tails: Tails, rows: slice) -> KeyView:
        """All of a context, and all of the tails of some rows, in a layer."""
        segment = context.layers[layer].here.segments[0]
        return cls(layer, segment, *tails.read(rows, segment.heads, 0), segment.keys.shape[0])

    @property
    def head(self) -> int | None:
        """The only key-value head that this is about; None for all of them."""
        alone = self.segment.keys.shape[0] < self.model_heads
        return self.segment.first_head if alone else None

    def rows(self, rows: slice) -> KeyView:
        """The view of some of its rows, neighbours."""
        return replace(
            self,
            tail_keys=self.tail_keys[rows],
            tail_values=self.tail_values[rows],
            known=self.known[rows],
        )

    def own_heads(self, tensor: Tensor) -> Tensor:
        """Of ``tensor``, (key-value or query heads of the layer, ...), those that are here."""
        if self.segment.keys.shape[0] == self.model_heads:
            return tensor
        group = tensor.shape[0] // self.model_heads
        heads = self.segment.heads
        return tensor[heads.start * group : heads.stop * group]

    def tail_features(
        self,
        name: Hashable,
        fitted: Features,
        encode: Callable[[Features, Tensor], Features],
        block: int,
    ) -> Features:
        """What ``encode`` makes of complete blocks, (R, H, ..., t); only new keys are encoded.

        The keys after the segment's last complete block come before the tail.
        """
        name = self.layer, self.segment.first_head, name
        left_over = self.segment.keys.shape[1] % block
        complete = (left_over + self.tail_keys.shape[2]) // block
        before = self.known[0].get(name)
        covered = before[0].shape[-1] if before else 0
        if before is not None and covered == complete:
            return self._features(name)
        keys = self._keys_between(covered * block - left_over, complete * block - left_over)
        found = encode(fitted, keys)
        if covered:
            pairs = zip(self._features(name), found, strict=True)
            found = tuple(torch.cat(pair, -1) for pair in pairs)
        for row, known in enumerate(self.known):
            known[name] = tuple(tensor[row : row + 1] for tensor in found)
        return found

    def _features(self, name: Hashable) -> Features:
        """What is known of all rows, (R, ...)."""
        rows = [known[name] for known in self.known]
        return tuple(map(_together, zip(*rows, strict=True)))

    def _keys_between(self, start: int, end: int) -> Tensor:
        """Keys of the tails from ``start`` to before ``end``; those below 0 end the segment."""
        of_tails = self.tail_keys[:, :, max(0, start) : max(0, end)]
        if start >= 0 or start == end:
            return of_tails
        last = self.segment.keys[None, :, start:].expand(self.tail_keys.shape[0], -1, -1, -1)
        return torch.cat([last, of_tails], 2)


def _together(rows: Sequence[Tensor]) -> Tensor:
    """Tensors (1, ...) as one, (R, ...); without a copy where they are parts of one, in order."""
    first = rows[0]
    start, step, storage = first.storage_offset(), first.stride(0), first.untyped_storage()
    for place, row in enumerate(rows):
        if (
            row.storage_offset() != start + place * step
            or row.stride() != first.stride()
            or row.untyped_storage().data_ptr() != storage.data_ptr()
        ):
            return torch.cat(list(rows))
    return first.as_strided((len(rows), *first.shape[1:]), first.stride(), start)
