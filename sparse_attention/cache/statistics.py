"""What presses need to know of a prefill, collected while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from sparse_attention.cache.causal import attention_sums
from sparse_attention.model_facts import LayerFacts

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StatisticsRequest:
    """What is to be collected; ``|`` joins the wishes of several presses."""

    last_queries: int = 0
    """So many of the last queries."""
    moments: frozenset[int] = frozenset()
    """Mean and covariance of the queries, for each number of first tokens to leave out."""
    attention_sums: bool = False
    """What each key receives of the attention of all queries."""
    rotation: bool = False
    """How each layer turns its keys."""
    output_weight: bool = False
    """The output projection of each layer."""

    def __or__(self, other: StatisticsRequest) -> StatisticsRequest:
        return StatisticsRequest(
            max(self.last_queries, other.last_queries),
            self.moments | other.moments,
            self.attention_sums or other.attention_sums,
            self.rotation or other.rotation,
            self.output_weight or other.output_weight,
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
        if facts.settings.is_local:
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


def joined_requests(requests: Sequence[StatisticsRequest]) -> StatisticsRequest:
    """All that any of them asks for."""
    total = NOTHING
    for request in requests:
        total = total | request
    return total
