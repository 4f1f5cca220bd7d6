"""Keys by their numbers: what is read where few of many keys are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Indices:
    """Numbers of keys, each key at most once in a line: what one query of one head reads.

    Shapes use R rows, H key-value heads, G query heads per key-value head and Q queries; each of
    these dimensions may be 1, for "the same for all".
    """

    keys: Tensor
    """int64 (R, H, G, Q, n), in any order: below P the number of a key of the segment, from P on
    that of a key of the row's tail, plus P.  After the first ``counts`` of a line comes padding,
    which is the number of some key as well."""
    counts: Tensor | None = None
    """int64 (R, H, G, Q, 1), how many of a line are read; None where all are."""
    weights: Tensor | None = None
    """float32 like ``keys``: log-weights, whatever is finite at padding; None where all are 0."""

    @cached_property
    def valid(self) -> Tensor | None:
        """Bool like ``keys``, false at padding; None where there is none."""
        if self.counts is None:
            return None
        return torch.arange(self.keys.shape[-1], device=self.keys.device) < self.counts

    @property
    def log_weights(self) -> Tensor | None:
        """float32 like ``keys``, -inf at padding; None where all are 0."""
        if self.valid is None:
            return self.weights
        weights = torch.zeros((), device=self.keys.device) if self.weights is None else self.weights
        return torch.where(self.valid, weights, -torch.inf)

    @classmethod
    def packed(cls, keys: Tensor, valid: Tensor, weights: Tensor | None = None) -> Indices:
        """Those of ``keys`` (R, H, G, Q, n) that are ``valid``."""
        order = (~valid).sort(dim=-1, stable=True).indices
        weights = None if weights is None else weights.gather(-1, order)
        return cls(keys.gather(-1, order), valid.sum(-1, keepdim=True), weights)

    @classmethod
    def of_places(cls, index: tuple[Tensor, ...], shape: Sequence[int], weights: Tensor) -> Indices:
        """Of the places of a bool tensor of this shape, (R, H, G, Q, K), that are true.

        Args:
            index: as ``nonzero(as_tuple=True)`` gives them.
            shape: of the tensor.
            weights: float32, log-weights of the places.
        """
        rows, heads, group, queries, _ = shape
        line = ((index[0] * heads + index[1]) * group + index[2]) * queries + index[3]
        counts = torch.bincount(line, minlength=rows * heads * group * queries)
        place = torch.arange(line.shape[0], device=line.device) - (counts.cumsum(0) - counts)[line]
        width = int(counts.max())
        keys = line.new_zeros(counts.shape[0], width)
        keys[line, place] = index[4]
        spread = weights.new_zeros(keys.shape)
        spread[line, place] = weights
        lines = (*shape[:4], -1)
        return cls(keys.view(lines), counts.view(lines), spread.view(lines))

    def scattered(self, length: int) -> Tensor:
        """Bool (R, H, G, Q, length): which of so many keys are read."""
        reads = torch.zeros(
            *self.keys.shape[:-1], length + 1, dtype=torch.bool, device=self.keys.device
        )
        return reads.scatter_(-1, self._apart(length), True)[..., :length]

    def spread(self, length: int) -> Tensor:
        """``weights`` at the keys that are read and 0 elsewhere: float32 (R, H, G, Q, length)."""
        weights = torch.zeros(*self.keys.shape[:-1], length + 1, device=self.keys.device)
        if self.weights is not None:
            weights.scatter_(-1, self._apart(length), self.weights)
        return weights[..., :length]

    def _apart(self, length: int) -> Tensor:
        """``keys`` with ``length`` at padding."""
        return self.keys if self.valid is None else torch.where(self.valid, self.keys, length)

    def after(self, first: Tensor) -> Indices:
        """The keys ``first``, (1, 1, 1, 1, m), with weight 1, and then these."""
        added = first.shape[-1]
        keys = torch.cat([first.expand(*self.keys.shape[:-1], added), self.keys], -1)
        counts = None if self.counts is None else self.counts + added
        weights = self.weights
        if weights is not None:
            weights = torch.nn.functional.pad(weights, (added, 0))
        return Indices(keys, counts, weights)

    def joined(self, other: Indices) -> Indices:
        """The keys of both, which have none in common."""
        if self.counts is not None and other.counts is None:
            return other.joined(self)
        lines = torch.broadcast_shapes(self.keys.shape[:-1], other.keys.shape[:-1])
        both = [one.expanded(lines) for one in (self, other)]
        keys = torch.cat([one.keys for one in both], -1)
        weights = None
        if self.weights is not None or other.weights is not None:
            parts = [
                torch.zeros_like(one.keys, dtype=torch.float32)
                if one.weights is None
                else one.weights
                for one in both
            ]
            weights = torch.cat(parts, -1)
        if both[0].counts is None:
            own = self.keys.shape[-1]
            counts = None if both[1].counts is None else both[1].counts + own
            return Indices(keys, counts, weights)
        valid = torch.cat([one.valid for one in both if one.valid is not None], -1)
        return Indices.packed(keys, valid, weights)

    def expanded(self, lines: tuple[int, ...]) -> Indices:
        """The same for (R, H, G, Q) lines."""
        counts = None if self.counts is None else self.counts.expand(*lines, 1)
        weights = None if self.weights is None else self.weights.expand(*lines, -1)
        return Indices(self.keys.expand(*lines, -1), counts, weights)
