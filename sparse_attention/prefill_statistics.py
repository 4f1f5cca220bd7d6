"""What presses need to know of a prefill: collected while it runs, if a configuration asks for it.

One dense prefill serves all presses.  Nothing here grows faster than the context: attention is
recomputed for a block of queries at a time and only its column sums are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from .attention_call import soft_cap
from .numerics import product

_BLOCK_ELEMENTS = 1 << 21
"""Attention weights that are held at a time."""


@dataclass(frozen=True)
class LayerSettings:
    """What a layer of the model says about its attention."""

    scaling: float
    sliding_window: int | None = None
    softcap: float | None = None
    sink_logits: Tensor | None = None
    """(H, G); see ``sink_share``."""


class Rotary(Protocol):
    """How a layer turns queries and keys by their positions; all in float32."""

    def rotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Turn vectors (n, m, D) by positions (n, m), which may be negative; lengths stay."""

    def unrotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """What the model rotated, and scaled, to ``vectors`` (n, m, D) at positions (m,)."""

    def average(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Mean over positions (m,) of what the model makes of vectors (n, D) there."""


@dataclass(frozen=True)
class StatisticsRequest:
    """What is to be collected; ``|`` joins the wishes of several presses."""

    last_queries: int = 0
    """So many of the last queries."""
    moments: frozenset[int] = frozenset()
    """Mean and covariance of the queries, for each number of first tokens to leave out."""
    attention_sums: bool = False
    """What each key receives of the attention of all queries."""
    model_facts: bool = False
    """Settings, rotation and output projection of each layer, which come with all the others."""

    def __or__(self, other: StatisticsRequest) -> StatisticsRequest:
        return StatisticsRequest(
            max(self.last_queries, other.last_queries),
            self.moments | other.moments,
            self.attention_sums or other.attention_sums,
            self.model_facts or other.model_facts,
        )

    def __bool__(self) -> bool:
        return self != NOTHING

    def covers(self, other: StatisticsRequest) -> bool:
        """Whether all that ``other`` asks for is asked for here."""
        return self | other == self


NOTHING = StatisticsRequest()


@dataclass(frozen=True)
class QueryMoments:
    """Mean and covariance of queries before their rotation, per query head."""

    count: int
    mean: Tensor
    """(H, G, D) float32."""
    scatter: Tensor
    """(H, G, D, D) float32: sum of the outer products of ``q - mean``."""

    @property
    def covariance(self) -> Tensor:
        """(H, G, D, D): ``scatter / count``."""
        return self.scatter / max(self.count, 1)

    def extended(self, queries: Tensor) -> QueryMoments:
        """Those of the known queries and of ``queries`` (H, G, n, D) together.

        The pairwise update of Chan, Golub and LeVeque (1979), which does not cancel.
        """
        count = queries.shape[2]
        if not count:
            return self
        mean = queries.mean(2)
        centred = queries - mean[:, :, None]
        scatter = centred.mT @ centred
        total, apart = self.count + count, mean - self.mean
        return QueryMoments(
            total,
            self.mean + apart * (count / total),
            self.scatter
            + scatter
            + apart[..., :, None] * apart[..., None, :] * (self.count * count / total),
        )


@dataclass(frozen=True)
class LayerFacts:
    """What the model is in one layer."""

    settings: LayerSettings
    rotary: Rotary | None
    """None where positions enter in a way that is not known to be a fixed rotation."""
    output_weight: Tensor | None
    """(H, G, D, hidden): what the output projection makes of each query head; None if unknown."""


@dataclass(frozen=True)
class LayerStatistics:
    """What was collected in one layer, for ``length`` tokens."""

    request: StatisticsRequest
    facts: LayerFacts
    length: int
    last_queries: Tensor
    """(H, G, w, D), as they meet the keys; fewer than asked for if there were fewer tokens."""
    moments: Mapping[int, QueryMoments]
    """By the number of first tokens that are left out."""
    attention_sums: Tensor | None
    """(H, length) float32: attention that each key received, summed over queries, mean over the
    group."""

    @classmethod
    def empty(
        cls, request: StatisticsRequest, facts: LayerFacts, shape: tuple[int, int, int]
    ) -> LayerStatistics:
        """Before the first token; ``shape`` is (H, G, D)."""
        heads, group, width = shape
        blank = QueryMoments(
            0, torch.zeros(heads, group, width), torch.zeros(heads, group, width, width)
        )
        return cls(
            request,
            facts,
            0,
            torch.zeros(heads, group, 0, width),
            dict.fromkeys(request.moments, blank),
            torch.zeros(heads, 0) if request.attention_sums else None,
        )

    def extended(self, queries: Tensor, keys: Tensor) -> LayerStatistics:
        """With new tokens.

        Args:
            queries: (H, G, n, D), of the new tokens.
            keys: (H, length + n, D), of all tokens.
        """
        new, device = queries.shape[2], queries.device
        wanted = self.request.last_queries
        last = queries[:, :, max(0, new - wanted) :]
        if new < wanted:
            last = torch.cat([self.last_queries.to(last), last], 2)[:, :, -wanted:]
        sums = self.attention_sums
        if sums is not None:
            received = attention_sums(queries, keys, self.length, self.facts.settings)
            received[:, : self.length] += sums.to(device)
            sums = received
        return replace(
            self,
            length=self.length + new,
            last_queries=last.clone(),
            moments=self._extended_moments(queries),
            attention_sums=sums,
        )

    def _extended_moments(self, queries: Tensor) -> Mapping[int, QueryMoments]:
        rotary = self.facts.rotary
        if not self.moments or rotary is None:
            return self.moments
        heads, group, new, width = queries.shape
        positions = torch.arange(self.length, self.length + new, device=queries.device)
        plain = rotary.unrotate(queries.reshape(heads * group, new, width), positions)
        plain = plain.view(heads, group, new, width)
        return {
            first: _on(known, queries.device).extended(plain[:, :, max(0, first - self.length) :])
            for first, known in self.moments.items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of what was collected."""
        tensors = [self.last_queries]
        tensors += [t for moments in self.moments.values() for t in (moments.mean, moments.scatter)]
        tensors += [] if self.attention_sums is None else [self.attention_sums]
        return sum(tensor.nbytes for tensor in tensors)


def _on(moments: QueryMoments, device: torch.device) -> QueryMoments:
    return replace(moments, mean=moments.mean.to(device), scatter=moments.scatter.to(device))


@dataclass
class PrefillStatistics:
    """What was collected in all layers."""

    request: StatisticsRequest = NOTHING
    layers: dict[int, LayerStatistics] = field(default_factory=dict)
    """But for those with a sliding window."""
    facts: dict[int, LayerFacts] = field(default_factory=dict)

    def observe(self, layer: int, queries: Tensor, keys: Tensor, facts: LayerFacts) -> None:
        """Add the new tokens of one layer; see ``LayerStatistics.extended``."""
        self.facts[layer] = facts
        if facts.settings.sliding_window is not None:
            return
        if layer not in self.layers:
            heads, group, _, width = queries.shape
            self.layers[layer] = LayerStatistics.empty(self.request, facts, (heads, group, width))
        self.layers[layer] = self.layers[layer].extended(queries, keys)

    def fork(self) -> PrefillStatistics:
        """One that can be added to without changing this one."""
        return PrefillStatistics(self.request, dict(self.layers), self.facts)

    @property
    def nbytes(self) -> int:
        """Bytes of what was collected."""
        return sum(layer.nbytes for layer in self.layers.values())


def causal_attention(
    queries: Tensor, keys: Tensor, key_positions: Tensor, start: int, settings: LayerSettings
) -> Tensor:
    """Dense attention weights of queries at positions ``start``, ``start + 1``, ...

    Args:
        queries: (H, G, n, D).
        keys: (H, m, D).
        key_positions: (H, m) or (1, m) int64; a query sees keys up to its own position.
        start: position of the first query.
        settings: of the layer; sinks take their share, a sliding window is not applied.

    Returns:
        (H, G, n, m) float32; 0 for a query that sees no key.
    """
    heads, group, count, width = queries.shape
    flat = queries.reshape(heads, group * count, width)
    scores = product(flat.to(keys.dtype), keys.mT).mul_(settings.scaling)
    scores = soft_cap(scores, settings.softcap).view(heads, group, count, -1)
    positions = torch.arange(start, start + count, device=keys.device)
    hidden = key_positions[:, None] > positions[:, None]
    scores.masked_fill_(hidden[:, None], -torch.inf)
    if settings.sink_logits is None:
        return torch.nan_to_num_(scores.softmax(-1), nan=0.0)
    sinks = settings.sink_logits.float()[:, :, None, None].expand(heads, group, count, 1)
    return torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]


def attention_sums(queries: Tensor, keys: Tensor, start: int, settings: LayerSettings) -> Tensor:
    """Column sums of dense causal attention, a block of queries of one head at a time.

    Args:
        queries: (H, G, n, D), at positions ``start``, ``start + 1``, ...
        keys: (H, start + n, D).
        start: position of the first query.
        settings: of the layer.

    Returns:
        (H, start + n) float32, summed over the queries, mean over the group.
    """
    heads, group, count, _ = queries.shape
    length = keys.shape[1]
    sums = torch.zeros(heads, length, device=keys.device)
    positions = torch.arange(length, device=keys.device)[None]
    block = max(1, _BLOCK_ELEMENTS // (group * length))
    for first in range(0, count, block):
        end = min(first + block, count)
        seen = start + end
        for head in range(heads):
            sinks = settings.sink_logits
            own = replace(settings, sink_logits=None if sinks is None else sinks[head : head + 1])
            weights = causal_attention(
                queries[head : head + 1, :, first:end],
                keys[head : head + 1, :seen],
                positions[:, :seen],
                start + first,
                own,
            )
            sums[head, :seen] += weights.sum((0, 1, 2)) / group
    return sums


def joined_requests(requests: Sequence[StatisticsRequest]) -> StatisticsRequest:
    """All that any of them asks for."""
    total = NOTHING
    for request in requests:
        total = total | request
    return total
