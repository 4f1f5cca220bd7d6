"""Keys by their numbers: what is read where few of many keys are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Indices:
    """Numbers of keys, each key at most once for a query.

    Shapes use R rows, H key-value heads, G query heads per key-value head and Q queries; each of
    these dimensions may be 1, for "the same for all".  A line is what one query of one head reads.
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
        """bool like ``keys``, false at padding; None where there is none."""
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
    def packed(cls, keys: Tensor, valid: Tensor, length: int) -> Indices:
        """Those of ``keys`` (R, H, G, Q, n) that are ``valid``, out of ``length`` keys."""
        ordered = torch.where(valid, keys, length).sort(-1).values
        return cls(ordered.clamp_(max=length - 1), valid.sum(-1, keepdim=True))

    def scattered(self, length: int) -> Tensor:
        """bool (R, H, G, Q, length), true at the keys that are read."""
        # One column more takes the padding.
        keys = self.keys if self.valid is None else torch.where(self.valid, self.keys, length)
        reads = keys.new_zeros((*keys.shape[:-1], length + 1), dtype=torch.bool)
        return reads.scatter_(-1, keys, True)[..., :length]

    def spread(self, length: int) -> Tensor:
        """``weights`` at the keys that are read and 0 elsewhere: float32 (R, H, G, Q, length)."""
        keys = self.keys if self.valid is None else torch.where(self.valid, self.keys, length)
        weights = torch.zeros((*keys.shape[:-1], length + 1), device=keys.device)
        if self.weights is not None:
            weights.scatter_(-1, keys, self.weights)
        return weights[..., :length]
