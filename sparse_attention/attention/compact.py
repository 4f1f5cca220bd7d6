"""A selection that is as small as what it selects, of a query that sees every key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.indices import Indices

if TYPE_CHECKING:
    from torch import Tensor

Span = tuple[int, int]
"""Neighbouring keys: the number of the first, and that of the first one after them."""


@dataclass(frozen=True, eq=False)
class Compact:
    """Spans that all rows and heads read, and for each line the numbers of other keys."""

    length: int
    """Keys that there are, K."""
    device: torch.device
    spans: tuple[Span, ...] = ()
    """Not empty, apart from one another, in rising order."""
    indices: Indices | None = None
    """Keys outside of the spans."""
    beyond: Compact | None = None
    """A selection of which no key is among the indices."""

    @cached_property
    def lines(self) -> torch.Size:
        """(R, H, G, Q), each 1 for "the same for all"."""
        return torch.Size((1, 1, 1, 1)) if self.indices is None else self.indices.keys.shape[:-1]

    @cached_property
    def spanned(self) -> int:
        """Keys in the spans."""
        return sum(end - start for start, end in self.spans)

    @cached_property
    def width(self) -> int:
        """The most keys that a line may read."""
        return self.spanned + (0 if self.indices is None else self.indices.keys.shape[-1])

    @cached_property
    def sizes(self) -> tuple[int, ...] | None:
        """Keys that each line of a row reads, of each row or as one number for all.

        None where lines of a row differ, or where a device would have to be asked.
        """
        if self.indices is None:
            return (self.spanned,)
        sizes = self.indices.sizes
        return None if sizes is None else tuple(self.spanned + size for size in sizes)

    @cached_property
    def size(self) -> int | None:
        """Keys that each line reads; None where lines differ."""
        return self.sizes[0] if self.sizes is not None and len(set(self.sizes)) == 1 else None

    @cached_property
    def left(self) -> int | None:
        """Keys that each line does not read; None where lines differ."""
        return None if self.size is None else self.length - self.size

    @property
    def counts(self) -> Tensor:
        """int64 (R, H, G, Q, 1): keys that are read."""
        if self.indices is not None and self.indices.counts is not None:
            return self.indices.counts + self.spanned
        return torch.full((*self.lines, 1), self.width, device=self.device)

    @property
    def united_counts(self) -> Tensor:
        """int64 (R, H, 1, Q, 1): keys that any query head of a key-value head reads."""
        if self.indices is None or self.lines[2] == 1:
            return self.counts
        # The maximum of bytes is several times faster than ``any``.
        reads = self.indices.scattered(self.length).view(torch.uint8).amax(2, keepdim=True)
        return reads.sum(-1, keepdim=True) + self.spanned

    @cached_property
    def gaps(self) -> list[Span] | None:
        """The neighbouring keys that are not read, not empty; None if there are indices."""
        if self.indices is not None:
            return None
        ends = [0, *(end for _, end in self.spans)]
        starts = [*(start for start, _ in self.spans), self.length]
        return [(end, start) for end, start in zip(ends, starts, strict=True) if end < start]

    def scattered(self) -> Tensor:
        """Bool (R, H, G, Q, K): which keys are read."""
        if self.indices is None:
            reads = torch.zeros(*self.lines, self.length, dtype=torch.bool, device=self.device)
        else:
            reads = self.indices.scattered(self.length)
        for start, end in self.spans:
            reads[..., start:end] = True
        return reads

    def drop_from(self, marked: Tensor) -> None:
        """Write false to ``marked``, bool (R, H, G, Q, K), where a key is read."""
        if self.indices is not None:
            marked &= ~self.indices.scattered(self.length)
        for start, end in self.spans:
            marked[..., start:end] = False

    def barred(self, values: Tensor) -> Tensor:
        """``values`` (R, H, G, Q, K), with -inf where a key is read."""
        barred = values.clone() if self.indices is None else self.indices.barred(values)
        for start, end in self.spans:
            barred[..., start:end] = -torch.inf
        return barred

    def open(self, values: Tensor) -> tuple[int, Tensor]:
        """Those of ``values`` (R, H, G, Q, K) that are not read, and the key of the first of them.

        A part of them where that is all that is left, and else all with -inf where a key is read.
        """
        gaps = self.gaps
        if gaps is not None and len(gaps) == 1:
            return gaps[0][0], values[..., slice(*gaps[0])]
        return 0, self.barred(values)

    def union(self, other: Compact) -> Compact | None:
        """All keys of both; None where it would have to be seen which keys are in both."""
        if self.indices is not None and (other.spans or other.indices is None):
            return self if not other.width else None
        if other.indices is not None and other.beyond is not self:
            return None
        spans = merged((*self.spans, *other.spans)) if other.spans else self.spans
        indices = other.indices if self.indices is None else self.indices
        if self.indices is not None and other.indices is not None:
            indices = self.indices.joined(other.indices)
        return Compact(self.length, self.device, spans, indices)

    def within(self, end: int) -> Indices:
        """The keys of the spans before number ``end`` one by one, and then the indices.

        None at all if ``end`` is 0.
        """
        numbers = [
            torch.arange(start, min(last, end), device=self.device)
            for start, last in self.spans
            if start < end
        ]
        first = torch.cat(numbers)[None, None, None, None] if numbers else None
        if self.indices is None or not end:
            empty = torch.zeros(1, 1, 1, 1, 0, dtype=torch.int64, device=self.device)
            return Indices(empty if first is None else first)
        return self.indices if first is None else self.indices.after(first)


def merged(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Spans that hold the same keys, as ``Compact`` wants them."""
    together: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if together and start <= together[-1][1]:
            together[-1] = together[-1][0], max(end, together[-1][1])
        else:
            together.append((start, end))
    return tuple(together)
