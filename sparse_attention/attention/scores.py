"""Scores, weights and outputs of dense attention that the rows of an operation share."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.geometry import Geometry, hide
from sparse_attention.cache.view import KeyView
from sparse_attention.model_facts import LayerSettings
from sparse_attention.numerics.products import product
from sparse_attention.numerics.tensors import soft_cap

if TYPE_CHECKING:
    from torch import Tensor


_ALIGNED = 8
"""Numbers of 2 bytes that a GPU reads at a time."""


class SharedScores:
    """Scores and dense attention weights of the rows of an operation, computed when asked for.

    The rows come in two parts; products with the context are one matrix product for all rows of a
    part.  ``draws`` keeps random numbers that several rows use.
    """

    def __init__(
        self,
        queries: Tensor,
        view: KeyView,
        geometry: Geometry,
        settings: LayerSettings,
        border: int | None = None,
        room: int = 0,
    ) -> None:
        """Compute nothing yet.

        Args:
            queries: (R, H, G, Q, D).
            view: the keys.
            geometry: where they and the queries lie.
            settings: of the layer.
            border: rows of the first part; None for all.
            room: for so many rows there is to be room beside the dense weights of all rows.
        """
        rows = queries.shape[0]
        self.queries, self.view, self.geometry, self.settings = queries, view, geometry, settings
        self._border, self.room = rows if border is None else border, room
        self.parts = range(self._border), range(self._border, rows)
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
        context_keys, tail_keys = self.view.segment.keys, self.view.tail_keys[own_rows]
        queries = self.queries[own_rows].to(context_keys.dtype)
        asking, heads, group, count, width = queries.shape
        context, tail = context_keys.shape[1], tail_keys.shape[2]
        exact = queries.dtype == torch.float32
        if exact:  # a factor of the small queries is cheaper than one of the large scores
            queries = queries * self.settings.scaling
        scores = queries.new_empty(
            heads, asking * group * count, context + tail, dtype=torch.float32
        )
        flat = queries.transpose(0, 1).reshape(heads, asking * group * count, width)
        if exact:
            product(flat, context_keys.mT, out=scores[..., :context])
        else:
            dots = product(flat, context_keys.mT)
            torch.mul(dots, self.settings.scaling, out=scores[..., :context])
        own = queries.reshape(asking * heads, group * count, width)
        own = product(own, tail_keys.reshape(asking * heads, tail, width).mT)
        shaped = scores.view(heads, asking, group, count, context + tail).transpose(0, 1)
        own = own.view(asking, heads, group, count, tail)
        shaped[..., context:] = own if exact else own.mul_(self.settings.scaling)
        hide(soft_cap(shaped, self.settings.softcap), self.geometry)
        self._scores[part] = shaped
        return shaped[chosen]

    def probabilities(self, rows: Sequence[int]) -> Tensor:
        """Softmax of the scores of these rows, in the same layout; kept if they are a part."""
        part = self.parts[rows[0] >= self._border]
        chosen = slice(rows[0] - part.start, rows[-1] + 1 - part.start)
        if part in self._probabilities:
            return self._probabilities[part][chosen]
        if self.room:
            return self.with_room[chosen]
        probabilities = self.scores(rows).transpose(0, 1).softmax(-1).transpose(0, 1)
        if len(rows) == len(part):
            self._probabilities[part] = probabilities
        return probabilities

    @cached_property
    def with_room(self) -> Tensor:
        """Dense weights of all rows, which are of one part, and after them room, heads first."""
        rows = range(self.queries.shape[0])
        scores = self.scores(rows).transpose(0, 1)
        heads, count, *lines = scores.shape
        weights = scores.new_empty(heads, count + self.room, *lines)
        for own, out in zip(scores, weights, strict=True):
            torch.softmax(own, -1, out=out[:count])
        return weights.transpose(0, 1)

    def dense_output(self) -> Tensor:
        """Dense attention (R, H, G, Q, Dv) of all rows, which are of one part."""
        rows, sinks = range(self.queries.shape[0]), self.settings.sink_logits
        values, tail_values = self.view.segment.values, self.view.tail_values
        scores, weights = self.scores(rows), self._probabilities.get(rows)
        if weights is None:  # not kept: nothing asks for them again
            weights = scores.transpose(0, 1).softmax(-1).transpose(0, 1)
        output = weigh_values(weights, values, tail_values)
        return output if sinks is None else output * sink_share(scores, sinks)


def sink_share(logits: Tensor, sink_logits: Tensor) -> Tensor:
    """What is left for the keys where learned sinks take part in the softmax (gpt-oss).

    With the log-sum-exp l of the logits (R, H, G, Q, K) and the sink s (H, G), the share of the
    keys is ``exp(l) / (exp(l) + exp(s))``: (R, H, G, Q, 1).
    """
    total = logits.logsumexp(-1, keepdim=True)
    return torch.sigmoid(total - sink_logits.float()[None, :, :, None, None])


def weigh_values(weights: Tensor, context_values: Tensor, tail_values: Tensor) -> Tensor:
    """``weights @ values`` over a segment of the context and the tails of the rows.

    Args:
        weights: (R, H, G, Q, P + t) float32, fast if heads come first in memory.
        context_values: (H, P, D).
        tail_values: (R, H, t, D).

    Returns:
        (R, H, G, Q, D) float32.
    """
    rows, heads, group, queries, keys = weights.shape
    context, width = context_values.shape[1:]
    if context_values.is_cuda:
        # Lines that begin anywhere would be read number by number, 30 times more slowly.
        left_over = context % _ALIGNED
        if 0 < left_over < context:
            rest = context_values[:, context - left_over :].expand(rows, -1, -1, -1)
            tail_values = torch.cat([rest, tail_values], 2)
            context -= left_over
            context_values = context_values[:, :context]
        weights = weights.to(context_values.dtype)
    flat = weights.transpose(0, 1)[..., :context].reshape(heads, rows * group * queries, context)
    if flat.is_cuda:
        flat = flat.contiguous()
    shared = product(flat, context_values)
    shared = shared.view(heads, rows, group, queries, width).transpose(0, 1)
    own = weights[..., context:].reshape(rows * heads, group * queries, keys - context)
    own = product(own, tail_values.reshape(rows * heads, keys - context, width))
    return shared + own.view(rows, heads, group, queries, width)
