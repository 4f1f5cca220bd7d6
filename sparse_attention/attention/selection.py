"""Which cached keys a query reads, and with which weight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from sparse_attention.numerics.tensors import count_true

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Selection:
    """Log-weights over the keys: the one thing that every method produces.

    The log-weight of a key is ``-inf`` if it is not read, ``0`` if it is read as it is and
    ``-log(p)`` if it was drawn with probability ``p``.  Attention over a selection is
    ``softmax(scores + log_weights) @ values``; with all log-weights 0 it is dense attention, and
    its numerator and denominator are Horvitz-Thompson estimates of the dense ones otherwise
    (Horvitz and Thompson, 1952).

    Both tensors broadcast to (rows, kv_heads, group, queries, keys); a dimension of size 1 means
    "the same for all", so that a selection that does not depend on the head stays small.
    """

    reads: Tensor
    """bool: which keys are read."""
    weights: Tensor | None = None
    """float32, finite: log-weights of the keys that are read; None where all of them are 0."""

    @classmethod
    def nothing(cls, keys: int, device: torch.device) -> Selection:
        """The selection that reads no key."""
        return cls(torch.zeros(1, 1, 1, 1, keys, dtype=torch.bool, device=device))

    @classmethod
    def everything(cls, keys: int, device: torch.device) -> Selection:
        """The selection that reads all keys: dense attention."""
        return cls(torch.ones(1, 1, 1, 1, keys, dtype=torch.bool, device=device))

    @property
    def log_weights(self) -> Tensor:
        """float32, -inf where a key is not read; broadcasts like ``reads``."""
        weights = 0.0 if self.weights is None else self.weights
        return torch.where(self.reads, weights, -torch.inf)

    @cached_property
    def counts(self) -> Tensor:
        """int64 (..., 1): keys that are read; broadcasts like ``reads``."""
        return count_true(self.reads)

    @cached_property
    def united_counts(self) -> Tensor:
        """int64 (..., 1, queries, 1): keys that any query head of a key-value head reads."""
        # The maximum of bytes is several times faster than ``any``.
        return count_true(self.reads.view(torch.uint8).amax(2, keepdim=True).view(torch.bool))

    @cached_property
    def bar(self) -> Tensor:
        """float32, -inf where a key is read and 0 elsewhere: added to values, it excludes them."""
        return torch.zeros_like(self.reads, dtype=torch.float32).masked_fill_(
            self.reads, -torch.inf
        )

    def union(self, other: Selection) -> Selection:
        """All keys of both; a key of both keeps the weight that it has here."""
        reads = self.reads | other.reads
        if other.weights is None and self.weights is None:
            return Selection(reads)
        if self.weights is None:
            assert other.weights is not None
            return Selection(reads, other.weights * ~self.reads)
        weights = torch.zeros(()) if other.weights is None else other.weights
        return Selection(reads, torch.where(self.reads, self.weights, weights))

    def restricted_to(self, visible: Tensor) -> Selection:
        """The same without the keys where ``visible`` (queries, keys) is false."""
        return Selection(self.reads & visible, self.weights)

    def or_newest_where_empty(self, newest: Tensor) -> Selection:
        """The same, with key ``newest`` (queries,) read by every query that reads nothing."""
        empty = self.counts == 0
        if not bool(empty.any()):
            return self
        columns = torch.arange(self.reads.shape[-1], device=newest.device)
        return self.union(Selection(empty & (columns == newest[:, None])))
