"""The keys that one attention operation sees: a segment of a context, then tails of rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from sparse_attention.cache.context import Context, Features, Segment
from sparse_attention.cache.tails import Tails

if TYPE_CHECKING:
    from torch import Tensor


class EncodedTail(NamedTuple):
    """What a method keeps of the tail of one row."""

    tokens: int
    """Tokens of the tail that it covers."""
    tensors: Features


TailFeatures = dict[Hashable, EncodedTail]
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
        """What ``encode`` makes of the tails, (R, H, ..., t); only new keys are encoded.

        The keys after the segment's last complete block come before the tail.  A block that was not
        complete is encoded again when keys are added to it.
        """
        length, name = self.tail_keys.shape[2], (self.layer, self.segment.first_head, name)
        before = self.known[0].get(name)
        covered = before.tokens if before else 0
        if covered < length:
            left_over = self.segment.keys.shape[1] % block
            complete = (left_over + covered) // block
            new = encode(fitted, self._newest_keys(complete * block - left_over))
            for row, known in enumerate(self.known):
                own = tuple(tensor[row : row + 1] for tensor in new)
                if complete:
                    old = (tensor[..., :complete] for tensor in known[name].tensors)
                    own = tuple(torch.cat(pair, -1) for pair in zip(old, own, strict=True))
                known[name] = EncodedTail(length, own)
        found = [known[name].tensors for known in self.known]
        if len(found) == 1:
            return found[0]
        return tuple(torch.cat(tensors) for tensors in zip(*found, strict=True))

    def _newest_keys(self, start: int) -> Tensor:
        """Keys of the tails from ``start`` on; below 0 they begin with the segment's last ones."""
        if start >= 0:
            return self.tail_keys[:, :, start:]
        last = self.segment.keys[None, :, start:].expand(self.tail_keys.shape[0], -1, -1, -1)
        return torch.cat([last, self.tail_keys], 2)
