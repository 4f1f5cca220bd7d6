"""Keys by their numbers: what is read where few of many keys are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from sparse_attention.numerics.heaviest import heaviest

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
    row_counts: tuple[int, ...] | None = None
    """How many of a line are read, in each row or as one number for all, where that is known
    without a look at ``counts``, which may be on a device."""

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """``row_counts``, also where all of each line is read."""
        return (self.keys.shape[-1],) if self.counts is None else self.row_counts

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
        return torch.where(self.valid, 0.0 if self.weights is None else self.weights, -torch.inf)

    def without_padding(self) -> tuple[Tensor, Tensor | None]:
        """Keys and log-weights, with the first of a line in place of its padding.

        Where all of a line is padding, the log-weights are -inf.
        """
        if self.valid is None:
            return self.keys, self.weights
        log_weights = self.log_weights
        assert log_weights is not None
        keys = torch.where(self.valid, self.keys, self.keys[..., :1])
        return keys, torch.where(self.valid, log_weights, log_weights[..., :1])

    @classmethod
    def packed(cls, keys: Tensor, valid: Tensor, weights: Tensor | None = None) -> Indices:
        """Those of ``keys`` (R, H, G, Q, n) that are ``valid``."""
        order = (~valid).sort(dim=-1, stable=True).indices
        weights = None if weights is None else weights.gather(-1, order)
        return cls(keys.gather(-1, order), valid.sum(-1, keepdim=True), weights)

    @classmethod
    def heaviest(cls, values: Tensor, counts: Tensor, first: int, left: int | None) -> Indices:
        """The keys with the largest values; of equal values those that come first.

        Args:
            values: float32 (R or 1, H, G, Q, n), -inf where a key must not be read.
            counts: int64, broadcasting to (R, H, G, Q, 1), how many keys are read at most; on the
                processor where they do not depend on what a device computed.
            first: number of the key that the first value is of.
            left: how many values of each line are above -inf, if that is known.
        """
        if left is None:
            return cls(*heaviest(values, counts, first=first))
        counts = counts.clamp(max=left)
        keys, found = heaviest(values, counts, enough=True, first=first)
        known = not counts.is_cuda and counts.shape[1:].numel() == 1
        sizes = tuple(counts.flatten().tolist()) if known else None
        return cls(keys, found, row_counts=sizes)

    @classmethod
    def of_spans(
        cls, spans: Sequence[tuple[int, int]], within: tuple[int, int], device: torch.device
    ) -> Indices:
        """For each row the keys of a span, (first, end), that are ``within`` another one."""
        first, end = (torch.tensor(ends).clamp(*within) for ends in zip(*spans, strict=True))
        sizes = (end - first).clamp(min=0)
        shape = (-1, 1, 1, 1, 1)
        first, counts = (part.view(shape).to(device, non_blocking=True) for part in (first, sizes))
        keys = first + torch.arange(int(sizes.max()), device=device)
        row_counts = tuple(sizes.tolist())
        alike = len(set(row_counts)) == 1
        return cls(keys.clamp_(max=within[1] - 1), None if alike else counts, None, row_counts)

    def scattered(self, length: int) -> Tensor:
        """Bool (R, H, G, Q, length): which of so many keys are read."""
        reads = torch.zeros(
            *self.keys.shape[:-1], length + 1, dtype=torch.bool, device=self.keys.device
        )
        return reads.scatter_(-1, self._apart(length), True)[..., :length]

    def barred(self, values: Tensor) -> Tensor:
        """``values`` (R, H, G, Q, K), with -inf where a key is read."""
        if self.valid is not None:
            return values.masked_fill(self.scattered(values.shape[-1]), -torch.inf)
        lines = np.broadcast_shapes(values.shape[:-1], self.keys.shape[:-1])
        keys = self.keys.expand(*lines, -1)
        return values.expand(*lines, -1).clone().scatter_(-1, keys, -torch.inf)

    def spread(self, length: int) -> Tensor:
        """``weights`` at the keys that are read and 0 elsewhere: float32 (R, H, G, Q, length)."""
        weights = torch.zeros(*self.keys.shape[:-1], length + 1, device=self.keys.device)
        if self.weights is not None:
            weights.scatter_(-1, self._apart(length), self.weights)
        return weights[..., :length]

    def _apart(self, length: int) -> Tensor:
        """``keys`` with ``length`` at padding."""
        return self.keys if self.valid is None else torch.where(self.valid, self.keys, length)

    def lists(self, lines: tuple[int, ...]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Those of a single query: keys (*lines, n), counts ``lines`` and weights like keys.

        ``lines`` are (R, H, 1 or G); the last dimension is contiguous.
        """
        both = [
            None if tensor is None else tensor[:, :, :, 0].expand(*lines, -1)
            for tensor in (self.keys, self.weights)
        ]
        keys, weights = (
            tensor if tensor is None or tensor.stride(-1) == 1 else tensor.contiguous()
            for tensor in both
        )
        counts = None if self.counts is None else self.counts[:, :, :, 0, 0].expand(lines)
        assert keys is not None
        return keys, counts, weights

    def after(self, first: Tensor) -> Indices:
        """The keys ``first``, (1, 1, 1, 1, m), with weight 1, and then these."""
        added = first.shape[-1]
        keys = torch.cat([first.expand(*self.keys.shape[:-1], added), self.keys], -1)
        counts = None if self.counts is None else self.counts + added
        weights = self.weights
        if weights is not None:
            weights = torch.nn.functional.pad(weights, (added, 0))
        sizes = None if self.row_counts is None else tuple(n + added for n in self.row_counts)
        return Indices(keys, counts, weights, sizes)

    def joined(self, other: Indices) -> Indices:
        """The keys of both, which have none in common."""
        if self.counts is not None and other.counts is None:
            return other.joined(self)
        lines = np.broadcast_shapes(self.keys.shape[:-1], other.keys.shape[:-1])
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
            sizes = other.row_counts and tuple(n + own for n in other.row_counts)
            return Indices(keys, counts, weights, sizes)
        valid = torch.cat([one.valid for one in both if one.valid is not None], -1)
        return Indices.packed(keys, valid, weights)

    def expanded(self, lines: tuple[int, ...]) -> Indices:
        """The same for (R, H, G, Q) lines."""
        counts = None if self.counts is None else self.counts.expand(*lines, 1)
        weights = None if self.weights is None else self.weights.expand(*lines, -1)
        return Indices(self.keys.expand(*lines, -1), counts, weights, self.row_counts)
