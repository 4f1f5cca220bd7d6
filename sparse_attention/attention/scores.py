"""Scores and dense attention weights that the rows of an operation share."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sparse_attention.numerics.tensors import product

if TYPE_CHECKING:
    from sparse_attention.cache.tails import LayerCache
from sparse_attention.attention.geometry import Geometry, hide
from sparse_attention.numerics.tensors import soft_cap


class SharedScores:
    """Scores and dense attention weights of the rows of an operation, computed when asked for.

    The rows come in parts; products with the prefix are one matrix product for all rows of a part.
    ``draws`` keeps random numbers that several rows use.
    """

    def __init__(
        self,
        queries: Tensor,
        cache: LayerCache,
        geometry: Geometry,
        scaling: float,
        softcap: float | None,
        parts: Sequence[range],
    ) -> None:
        self._queries, self._cache, self._geometry = queries, cache, geometry
        self._scaling, self._softcap, self._parts = scaling, softcap, parts
        self._scores: dict[range, Tensor] = {}
        self._probabilities: dict[range, Tensor] = {}
        self.draws: dict[Hashable, Tensor] = {}

    def known(self, rows: Sequence[int]) -> bool:
        """Whether the scores of these rows have been computed."""
        return self._part(rows) in self._scores

    def scores(self, rows: Sequence[int]) -> Tensor:
        """Logits of neighbouring rows of one part, (rows, H, G, Q, K) float32, heads first."""
        part = self._part(rows)
        if part not in self._scores:
            self._scores[part] = self._compute(part)
        return self._scores[part][rows[0] - part.start : rows[-1] + 1 - part.start]

    def probabilities(self, rows: Sequence[int]) -> Tensor:
        """Softmax of the scores of these rows, in the same layout; kept if they are a part."""
        part = self._part(rows)
        if part in self._probabilities:
            return self._probabilities[part][rows[0] - part.start : rows[-1] + 1 - part.start]
        probabilities = self.scores(rows).transpose(0, 1).softmax(-1).transpose(0, 1)
        if len(rows) == len(part):
            self._probabilities[part] = probabilities
        return probabilities

    def _part(self, rows: Sequence[int]) -> range:
        return next(part for part in self._parts if rows[0] in part)

    def _compute(self, part: range) -> Tensor:
        chosen = slice(part.start, part.stop)
        prefix_keys, tail_keys = self._cache.prefix_keys, self._cache.tail_keys(chosen)
        queries = self._queries[chosen].to(prefix_keys.dtype)
        rows, heads, group, count, width = queries.shape
        prefix, tail = prefix_keys.shape[1], tail_keys.shape[2]
        exact = queries.dtype == torch.float32
        if exact:  # a factor of the small queries is cheaper than one of the large scores
            queries = queries * self._scaling
        scores = queries.new_empty(heads, rows * group * count, prefix + tail, dtype=torch.float32)
        flat = queries.transpose(0, 1).reshape(heads, rows * group * count, width)
        if exact:
            torch.bmm(flat, prefix_keys.mT, out=scores[..., :prefix])
        else:
            scores[..., :prefix] = product(flat, prefix_keys.mT)
        own = queries.reshape(rows * heads, group * count, width)
        own = product(own, tail_keys.reshape(rows * heads, tail, width).mT)
        shaped = scores.view(heads, rows, group, count, prefix + tail).transpose(0, 1)
        shaped[..., prefix:] = own.view(rows, heads, group, count, tail)
        if not exact:
            shaped.mul_(self._scaling)
        hide(soft_cap(shaped, self._softcap), self._geometry)
        return shaped
