"""Sampling keys uniformly without replacement from what is not read yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.geometry import hide
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
    """(R or 1, H, G, Q, K) float32, a random number per key, -inf outside the residual."""
    size: Tensor
    """int64, broadcastable to (R, H, G, Q, 1)."""
    left: Tensor
    """bool, broadcastable to (R, H, G, Q, K)."""

    @classmethod
    def of(cls, call: AttentionCall, prior: Selection, seed: int) -> Residual:
        """What ``prior`` leaves; the order is drawn with ``seed``."""
        left = ~prior.reads if call.visible is None else ~prior.reads & call.visible
        lots = call.uniform(seed) + prior.bar
        hide(lots, call.geometry)
        return cls(lots, count_true(left), left)

    def first(self, count: Tensor) -> Tensor:
        """The first ``count`` keys, (R, H, G, Q, 1) int64: bool (R, H, G, Q, K)."""
        rows = max(self.lots.shape[0], count.shape[0] if count.ndim == 5 else 1)
        return largest(self.lots.expand(rows, -1, -1, -1, -1), count)


def log_inverse_share(drawn: Tensor, size: Tensor) -> Tensor:
    """Log-weight of the keys of a simple random sample of ``drawn`` out of ``size`` keys.

    ``log(n) - log(b)``, exactly 0 where the sample is everything; float32 in the shape of both,
    int64.  With a b that was fixed before drawing, a key was drawn with probability b / n and this
    is Horvitz and Thompson's weight.
    """
    return size.clamp(min=1).float().log() - drawn.clamp(min=1).float().log()
