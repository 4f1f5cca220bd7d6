"""Where the queries and keys of an attention operation lie, and who sees whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from sparse_attention.method import resolve_size
from sparse_attention.model_facts import LayerSettings

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """Where the queries and keys of an attention operation lie, and who sees whom."""

    query_positions: Tensor
    """(Q,) int64, positions in the sequence."""
    key_positions: Tensor
    """(K,) int64, consecutive."""
    visible: Tensor | None
    """(Q, K) bool, or None where every query sees every key."""

    @classmethod
    def of(
        cls,
        start: int,
        end: int,
        queries: int,
        window: int | None,
        device: torch.device,
        chunk: int | None = None,
    ) -> Geometry:
        """For the last ``queries`` tokens before ``end``, over the keys from ``start`` on.

        ``window`` is how many keys a query sees, its own included; None for all.  ``chunk`` is the
        length of the chunks of the sequence that queries see their own one of; None without.
        """
        query_positions = torch.arange(end - queries, end, device=device)
        key_positions = torch.arange(start, end, device=device)
        within = window is None or end - start <= window
        together = chunk is None or start // chunk == (end - 1) // chunk
        if queries == 1 and within and together:
            return cls(query_positions, key_positions, None)
        distance = query_positions[:, None] - key_positions
        visible = distance >= 0
        if window is not None:
            visible &= distance < window
        if chunk is not None:
            visible &= query_positions[:, None] // chunk == key_positions // chunk
        return cls(query_positions, key_positions, visible)

    @cached_property
    def visible_counts(self) -> Tensor:
        """(Q,) int64, keys that each query sees."""
        if self.visible is None:
            return torch.full_like(self.query_positions, self.key_positions.shape[0])
        return self.visible.sum(-1)

    @cached_property
    def _sizes(self) -> dict[tuple[type, int | float], Tensor]:
        return {}

    def resolve(self, size: int | float) -> Tensor:
        """(Q,) int64, keys that ``size`` means for each query; see ``resolve_size``."""
        key = (type(size), size)  # 1 and 1.0 are different sizes
        if key not in self._sizes:
            self._sizes[key] = resolve_size(size, self.visible_counts)
        return self._sizes[key]

    @cached_property
    def first_invisible(self) -> int:
        """The first key that some query does not see; all keys before it are seen by all."""
        if self.visible is None:
            return self.key_positions.shape[0]
        return int(self.visible.all(0).long().cumprod(0).sum())

    @cached_property
    def visible_total(self) -> int:
        """Keys that all queries see, added up."""
        if self.visible is None:
            return self.query_positions.shape[0] * self.key_positions.shape[0]
        return int(self.visible_counts.sum())


class Geometries:
    """Those of one step: layers and heads often have the same, which is made once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int | None, int | None], Geometry] = {}

    def of(self, start: int, end: int, queries: Tensor, settings: LayerSettings) -> Geometry:
        """See ``Geometry.of``; of queries (R, H, G, Q, D) in a layer with these settings."""
        window, chunk = settings.sliding_window, settings.chunk
        key = start, end, queries.shape[3], window, chunk
        if key not in self._known:
            self._known[key] = Geometry.of(*key[:4], queries.device, chunk)
        return self._known[key]


def hide(values: Tensor, geometry: Geometry) -> None:
    """Write -inf to ``values`` (R, H, G, Q, K) where a key is invisible."""
    if geometry.visible is not None:
        first = geometry.first_invisible
        values[..., first:].masked_fill_(~geometry.visible[:, first:], -torch.inf)
