"""Scores and dense attention weights that the rows of an operation share."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.geometry import Geometry, hide
from sparse_attention.cache.view import KeyView
from sparse_attention.model_facts import LayerSettings
from sparse_attention.numerics.tensors import product, soft_cap

if TYPE_CHECKING:
    from torch import Tensor


class SharedScores:
    """Scores and dense attention weights of the rows of an operation, computed when asked for.

    The rows come in two parts, those before number ``border`` and the others; products with the
    context are one matrix product for all rows of a part.
    ``draws`` keeps random numbers that several rows use.
    """

    def __init__(
        self,
        queries: Tensor,
        view: KeyView,
        geometry: Geometry,
        settings: LayerSettings,
        border: int,
    ) -> None:
        self._queries, self._view, self._geometry = queries, view, geometry
        self._settings, self._border = settings, border
        self.parts = range(border), range(border, queries.shape[0])
        """Rows before the border, and the others."""
        self._scores: dict[range, Tensor] = {}
        self._probabilities: dict[range, Tensor] = {}
        self.draws: dict[Hashable, Tensor] = {}

    def known(self, rows: Sequence[int]) -> bool:
        """Whether the scores of these rows have been computed."""
        return self.parts[rows[0] >= self._border] in self._scores

    def scores(self, rows: Sequence[int]) -> Tensor:
        """Logits of neighbouring rows of one part, (rows, H, G, Q, K) float32, heads first."""
        part = self.parts[rows[0] >= self._border]
        chosen = slice(rows[0] - part.start, rows[-1] + 1 - part.start)
        if part in self._scores:
            return self._scores[part][chosen]
        own_rows = slice(part.start, part.stop)
        context_keys, tail_keys = self._view.segment.keys, self._view.tail_keys[own_rows]
        queries = self._queries[own_rows].to(context_keys.dtype)
        asking, heads, group, count, width = queries.shape
        context, tail = context_keys.shape[1], tail_keys.shape[2]
        exact = queries.dtype == torch.float32
        if exact:  # a factor of the small queries is cheaper than one of the large scores
            queries = queries * self._settings.scaling
        scores = queries.new_empty(
            heads, asking * group * count, context + tail, dtype=torch.float32
        )
        flat = queries.transpose(0, 1).reshape(heads, asking * group * count, width)
        if exact:
            torch.bmm(flat, context_keys.mT, out=scores[..., :context])
        else:
            scores[..., :context] = product(flat, context_keys.mT)
        own = queries.reshape(asking * heads, group * count, width)
        own = product(own, tail_keys.reshape(asking * heads, tail, width).mT)
        shaped = scores.view(heads, asking, group, count, context + tail).transpose(0, 1)
        shaped[..., context:] = own.view(asking, heads, group, count, tail)
        if not exact:
            shaped.mul_(self._settings.scaling)
        hide(soft_cap(shaped, self._settings.softcap), self._geometry)
        self._scores[part] = shaped
        return shaped[chosen]

    def probabilities(self, rows: Sequence[int]) -> Tensor:
        """Softmax of the scores of these rows, in the same layout; kept if they are a part."""
        part = self.parts[rows[0] >= self._border]
        if part in self._probabilities:
            return self._probabilities[part][rows[0] - part.start : rows[-1] + 1 - part.start]
        probabilities = self.scores(rows).transpose(0, 1).softmax(-1).transpose(0, 1)
        if len(rows) == len(part):
            self._probabilities[part] = probabilities
        return probabilities


def sink_share(logits: Tensor, sink_logits: Tensor) -> Tensor:
    """What is left for the keys where learned sinks take part in the softmax (gpt-oss).

    With the log-sum-exp l of the logits (R, H, G, Q, K) and the sink s (H, G), the share of the
    keys is ``exp(l) / (exp(l) + exp(s))``: (R, H, G, Q, 1).
    """
    total = logits.logsumexp(-1, keepdim=True)
    return torch.sigmoid(total - sink_logits.float()[None, :, :, None, None])
