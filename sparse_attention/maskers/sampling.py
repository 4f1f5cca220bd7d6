"""Sampling keys uniformly without replacement from what is not read yet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.geometry import hide
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.selection import Selection
from sparse_attention.numerics.heaviest import largest
from sparse_attention.numerics.tensors import as_numbers, count_true

if TYPE_CHECKING:
    from torch import Tensor

_FEW_ROWS = 2
"""Rows up to which to find the largest numbers of each is cheaper than to order all of them once
for all rows: measured with 4096 and 16384 keys, and with one query and 20."""
_LISTED_SHARE = 0.25
"""Share of the keys from which on a processor marks a sample instead of listing it: it would read
more of the keys than it leaves out anyway."""


class Residual(ABC):
    """The keys that are seen but not read yet, in a random order for every query and head.

    The order is that of independent uniform numbers.  The first b keys of it are a simple random
    sample without replacement of size b, for every b, and smaller samples are part of larger ones.
    """

    def __init__(self, call: AttentionCall, prior: Selection, seed: int) -> None:
        """What ``prior`` leaves; see ``of``."""
        self.call, self.prior, self.seed = call, prior, seed
        compact = prior.compact if call.visible is None else None
        self.compact = compact if compact is not None and compact.left is not None else None
        """What is read already, if the query sees every key and equally many are read in all lines,
        so that keys can be ``listed``; None otherwise."""

    @classmethod
    def of(cls, call: AttentionCall, prior: Selection, seed: int) -> Residual:
        """What ``prior`` leaves; the order is drawn with ``seed``."""
        few = call.shape[0] <= _FEW_ROWS
        kind = _ByNumbers if call.queries.is_cuda or few else _InOrder
        return kind(call, prior, seed)

    @cached_property
    def size(self) -> Tensor:
        """int64, broadcastable to (R, H, G, Q, 1); a single number on the processor if known."""
        if self.compact is None:
            return count_true(self.unread)
        assert self.compact.left is not None
        return torch.tensor(self.compact.left)

    @cached_property
    def unread(self) -> Tensor:
        """Bool, broadcastable to (R, H, G, Q, K)."""
        unread = ~self.prior.reads
        return unread if self.call.visible is None else unread & self.call.visible

    @abstractmethod
    def listed(self, count: Tensor) -> Indices:
        """The first ``count`` keys, see ``sample``, if ``compact`` is not None."""

    def lists(self, count: Tensor) -> bool:
        """Whether a sample of so many keys is listed if it can be."""
        return True

    @abstractmethod
    def first(self, count: Tensor) -> Tensor:
        """The first ``count`` keys, see ``sample``: bool (R, H, G, Q, K)."""

    def sample(self, count: Tensor) -> Selection:
        """A simple random sample with its log-weights.

        Args:
            count: keys of it, int64 (R or 1, H or 1, G or 1, Q, 1), at most ``size``; on the
                processor where they do not depend on what a device computed.
        """
        device, compact = self.call.device, self.compact
        weight = log_inverse_share(count, self.size).to(device, non_blocking=True)
        if compact is None or not self.lists(count):
            return Selection(self.first(count), as_numbers(~self.prior.reads) * weight)
        indices = self.listed(count)
        indices = replace(indices, weights=weight.expand(indices.keys.shape))
        return Selection(Compact(compact.length, compact.device, (), indices, compact))


class _ByNumbers(Residual):
    """Takes the keys with the largest numbers, for a GPU or few rows."""

    def listed(self, count: Tensor) -> Indices:
        assert self.compact is not None
        start, numbers = self._open
        return Indices.heaviest(numbers, _by_line(count), start, self.compact.left)

    def first(self, count: Tensor) -> Tensor:
        return largest(self._numbers, _by_line(count))

    @cached_property
    def _open(self) -> tuple[int, Tensor]:
        """Of ``compact``, with a random number per key."""
        assert self.compact is not None
        return self.compact.open(self.call.uniform(self.seed))

    @cached_property
    def _numbers(self) -> Tensor:
        """(R or 1, H, G, Q, K) float32, a random number per key, -inf outside the residual."""
        numbers = self.call.uniform(self.seed) + self.prior.bar
        hide(numbers, self.call.geometry)
        return numbers


class _InOrder(Residual):
    """Puts the keys in order once, for all rows and all that is asked for."""

    def lists(self, count: Tensor) -> bool:
        return int(count.max()) <= _LISTED_SHARE * self.call.shape[-1]

    def listed(self, count: Tensor) -> Indices:
        assert self.compact is not None
        counts = _by_line(count).clamp(max=self.compact.left)
        most = int(counts.max())
        taken = np.logical_and(self._unread_in_order.numpy(), self._rank.numpy() <= most)
        order = self._order.expand(taken.shape).numpy()
        rows = [
            own.reshape(-1)[np.flatnonzero(here)] for own, here in zip(order, taken, strict=True)
        ]
        lines = max(len(rows), counts.shape[0]), *taken.shape[1:-1]
        keys = torch.from_numpy(np.stack(rows)).view(len(rows), *lines[1:], most).expand(*lines, -1)
        if counts.numel() == 1:
            return Indices(keys)
        known = tuple(counts.flatten().tolist()) if counts.shape[1:].numel() == 1 else None
        return Indices(keys, counts.expand(*lines, 1), row_counts=known)

    def first(self, count: Tensor) -> Tensor:
        rank, lines = self._rank, self._rank.shape[:-1]
        # How many keys of the order it takes to have so many unread ones.
        counts = _by_line(count).to(rank.dtype).expand(-1, *lines[1:], 1)
        if lines[0] == 1:  # rows share the line and ask for several counts
            wanted = counts[..., 0].movedim(0, -1)[None]
            ends = torch.searchsorted(rank, wanted.contiguous())[0].movedim(-1, 0)[..., None]
        else:
            ends = torch.searchsorted(rank, counts.expand(*lines, 1).contiguous())
        ends = torch.where(counts > 0, ends, -1).to(rank.dtype)
        taken = np.less_equal(self._place.numpy(), ends.numpy())
        return torch.from_numpy(np.logical_and(taken, self.unread.numpy(), out=taken))

    @cached_property
    def _order(self) -> Tensor:
        return self.call.drawing_order(self.seed)

    @cached_property
    def _place(self) -> Tensor:
        """The place of each key in the order, (R or 1, H, G, Q, K)."""
        places = torch.arange(self._order.shape[-1], dtype=self._small)
        return torch.empty_like(self._order, dtype=self._small).scatter_(
            -1, self._order, places.expand(self._order.shape)
        )

    @property
    def _small(self) -> torch.dtype:
        """Of numbers up to K."""
        return torch.int16 if self._order.shape[-1] < 1 << 15 else torch.int32

    @cached_property
    def _unread_in_order(self) -> Tensor:
        """Bool (R or 1, H, G, Q, K)."""
        rows = max(self._order.shape[0], self.unread.shape[0])
        order = self._order.expand(rows, -1, -1, -1, -1)
        return self.unread.expand(order.shape).gather(-1, order)

    @cached_property
    def _rank(self) -> Tensor:
        """Unread keys among those up to each in the order, (R or 1, H, G, Q, K)."""
        return self._unread_in_order.cumsum(-1, dtype=self._small)


def _by_line(count: Tensor) -> Tensor:
    """A count with all dimensions, also if it is one number for all lines."""
    return count if count.ndim else count.view(1, 1, 1, 1, 1)


def log_inverse_share(drawn: Tensor, size: Tensor) -> Tensor:
    """Log-weight of the keys of a simple random sample of ``drawn`` out of ``size`` keys.

    ``log(n) - log(b)``, exactly 0 where the sample is everything; float32 in the shape of both,
    int64.  With a b that was fixed before drawing, a key was drawn with probability b / n and this
    is Horvitz and Thompson's weight.
    """
    return size.clamp(min=1).float().log() - drawn.clamp(min=1).float().log()
