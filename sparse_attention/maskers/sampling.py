"""Sampling keys uniformly without replacement from what is not read yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.geometry import hide
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.selection import Selection
from sparse_attention.numerics.tensors import count_true, largest

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Residual:
    """The keys that are seen but not read yet, in a random order for every query and head.

    The order is that of independent uniform numbers.  The first b keys of it are a simple random
    sample without replacement of size b, for every b, and smaller samples are part of larger ones.
    """

    lots: Tensor
    """(R or 1, H, G, Q, n) float32, a random number per key, -inf outside the residual."""
    size: Tensor
    """int64, broadcastable to (R, H, G, Q, 1); with ``start`` a single number on the processor."""
    prior: Selection
    """What is read already."""
    start: int | None = None
    """The key of the first of the lots, if the query sees every key and ``prior`` is compact and
    reads equally many keys in all lines; None otherwise, and then there are lots for all K keys."""

    @classmethod
    def of(cls, call: AttentionCall, prior: Selection, seed: int) -> Residual:
        """What ``prior`` leaves; the order is drawn with ``seed``."""
        compact = prior.compact
        if call.visible is None and compact is not None and compact.left is not None:
            start, lots = compact.open(call.uniform(seed))
            return cls(lots, torch.tensor(compact.left), prior, start)
        unread = ~prior.reads if call.visible is None else ~prior.reads & call.visible
        lots = call.uniform(seed) + prior.bar
        hide(lots, call.geometry)
        return cls(lots, count_true(unread), prior)

    def sample(self, count: Tensor) -> Selection:
        """A simple random sample with its log-weights.

        Args:
            count: keys of it, int64 (R or 1, H or 1, G or 1, Q, 1), at most ``size``; on the
                processor where they do not depend on what a device computed.
        """
        weight = log_inverse_share(count, self.size).to(self.lots.device, non_blocking=True)
        if self.start is None:
            return Selection(self.first(count), weight.masked_fill(self.prior.reads, 0.0))
        indices = self.listed(count)
        indices = replace(indices, weights=weight.expand(indices.keys.shape))
        compact = self.prior.compact
        assert compact is not None
        return Selection(Compact(compact.length, compact.device, (), indices, compact))

    def listed(self, count: Tensor) -> Indices:
        """The first ``count`` keys, see ``sample``, where there is a ``start``."""
        assert self.start is not None
        return Indices.heaviest(self.lots, _by_line(count), self.start, int(self.size))

    def first(self, count: Tensor) -> Tensor:
        """The first ``count`` keys, see ``sample``: bool (R, H, G, Q, K)."""
        return largest(self.lots, _by_line(count))


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
