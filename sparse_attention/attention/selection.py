"""Which cached keys a query reads, and with which weight."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.compact import Compact, merged
from sparse_attention.numerics.tensors import count_true

if TYPE_CHECKING:
    from torch import Tensor


class Selection:
    """Log-weights over the keys: the one thing that every method produces.

    The log-weight of a key is ``-inf`` if it is not read, ``0`` if it is read as it is and
    ``-log(p)`` if it was drawn with probability ``p``.  Attention over a selection is
    ``softmax(scores + log_weights) @ values``; with all log-weights 0 it is dense attention, and
    its numerator and denominator are Horvitz-Thompson estimates of the dense ones otherwise
    (Horvitz and Thompson, 1952).

    A selection is made of ``reads`` and ``weights``, one entry for each key, or of a ``Compact``,
    which has these as well but works them out only when they are asked for.

    Both tensors broadcast to (rows, kv_heads, group, queries, keys); a dimension of size 1 means
    "the same for all", so that a selection that does not depend on the head stays small.
    """

    def __init__(self, reads: Tensor | Compact, weights: Tensor | None = None) -> None:
        """Of one entry for each key, or of a compact form alone.

        Args:
            reads: bool, which keys are read.
            weights: float32, finite: log-weights of the keys that are read; None where all are 0.
        """
        self.compact = reads if isinstance(reads, Compact) else None
        """The compact form, if it was made of one."""
        self._mask = None if isinstance(reads, Compact) else (reads, weights)

    @classmethod
    def nothing(cls, keys: int, device: torch.device) -> Selection:
        """The selection that reads no key."""
        return cls(Compact(keys, device))

    @classmethod
    def everything(cls, keys: int, device: torch.device) -> Selection:
        """The selection that reads all keys: dense attention."""
        return cls(Compact(keys, device, merged(((0, keys),))))

    @property
    def reads(self) -> Tensor:
        """bool: which keys are read."""
        return self._entries[0]

    @property
    def weights(self) -> Tensor | None:
        """float32, finite: log-weights of the keys that are read; None where all of them are 0."""
        return self._entries[1]

    @cached_property
    def _entries(self) -> tuple[Tensor, Tensor | None]:
        if self.compact is None:
            assert self._mask is not None
            return self._mask
        indices = self.compact.indices
        weighted = indices is not None and indices.weights is not None
        weights = indices.spread(self.compact.length) if indices and weighted else None
        return self.compact.scattered(), weights

    @property
    def log_weights(self) -> Tensor:
        """float32, -inf where a key is not read; broadcasts like ``reads``."""
        weights = 0.0 if self.weights is None else self.weights
        return torch.where(self.reads, weights, -torch.inf)

    @cached_property
    def counts(self) -> Tensor:
        """int64 (..., 1): keys that are read; broadcasts like ``reads``."""
        return count_true(self.reads) if self.compact is None else self.compact.counts

    @cached_property
    def united_counts(self) -> Tensor:
        """int64 (..., 1, queries, 1): keys that any query head of a key-value head reads."""
        if self.compact is not None:
            return self.compact.united_counts
        # The maximum of bytes is several times faster than ``any``.
        return count_true(self.reads.view(torch.uint8).amax(2, keepdim=True).view(torch.bool))

    @cached_property
    def bar(self) -> Tensor:
        """float32, -inf where a key is read and 0 elsewhere: added to values, it excludes them."""
        return torch.zeros_like(self.reads, dtype=torch.float32).masked_fill_(
            self.reads, -torch.inf
        )

    @cached_property
    def lines(self) -> torch.Size:
        """(rows, kv_heads, group, queries), each 1 for "the same for all"."""
        return self.reads.shape[:-1] if self.compact is None else self.compact.lines

    def union(self, other: Selection) -> Selection:
        """All keys of both; a key of both keeps the weight that it has here."""
        if self.compact is not None and other.compact is not None:
            united = self.compact.union(other.compact)
            if united is not None:
                return Selection(united)
        reads = self.reads | other.reads
        if other.weights is None and self.weights is None:
            return Selection(reads)
        if self.weights is None:
            assert other.weights is not None
            return Selection(reads, other.weights.masked_fill(self.reads, 0.0))
        weights = torch.zeros(()) if other.weights is None else other.weights
        return Selection(reads, torch.where(self.reads, self.weights, weights))

    def extended_by(self, other: Selection) -> Selection:
        """``union`` with a selection whose weights are 0 at all keys that are read here."""
        plain = self.compact is None or other.compact is None
        if plain and self.weights is None and other.weights is not None:
            return Selection(self.reads | other.reads, other.weights)
        return self.union(other)

    def restricted_to(self, visible: Tensor) -> Selection:
        """The same without the keys where ``visible`` (queries, keys) is false."""
        return Selection(self.reads & visible, self.weights)

    def or_newest_where_empty(self, newest: Tensor) -> Selection:
        """The same, with key ``newest`` (queries,) read by every query that reads nothing."""
        if self.compact is not None and (self.compact.spanned or all(self.compact.sizes or (0,))):
            return self
        empty = self.counts == 0
        if not bool(empty.any()):
            return self
        columns = torch.arange(self.reads.shape[-1], device=newest.device)
        return self.union(Selection(empty & (columns == newest[:, None])))
