"""Where the queries and keys of an attention operation lie, and who sees whom."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.selection import Selection
from sparse_attention.method import resolve_size

if TYPE_CHECKING:
    from torch import Tensor

    _Asked = tuple[int, int, int, int | None, torch.device, int | None]


@dataclass(frozen=True)
class Geometry:
    """Where the queries and keys of an attention operation lie, and who sees whom.

    Numbers that follow from lengths alone are kept on the CPU, so that nothing waits for a device.
    """

    query_positions: Tensor
    """(Q,) int64, positions in the sequence."""
    key_positions: Tensor
    """(K,) int64, consecutive."""
    visible: Tensor | None
    """(Q, K) bool, or None where every query sees every key."""
    asking: Tensor
    """``query_positions`` on the CPU."""
    visible_counts: Tensor
    """(Q,) int64 on the CPU, keys that each query sees."""
    visible_total: int
    """Keys that all queries see, added up."""
    start: int
    """The position of the first key."""

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
        asking = torch.arange(end - queries, end)
        first_seen = torch.full_like(asking, start)
        if window is not None:
            first_seen = first_seen.maximum(asking + 1 - window)
        if chunk is not None:
            first_seen = first_seen.maximum(asking // chunk * chunk)
        counts = (asking + 1 - first_seen).clamp(min=0)
        query_positions = torch.arange(end - queries, end, device=device)
        key_positions = torch.arange(start, end, device=device)
        visible = None
        total = int(counts.sum())
        if total < queries * (end - start):
            first_seen = first_seen[:, None].to(device)
            visible = (key_positions >= first_seen) & (key_positions <= query_positions[:, None])
        return cls(query_positions, key_positions, visible, asking, counts, total, start)

    @cached_property
    def positional(self) -> dict[int, Selection]:
        """What methods select by positions alone, by a number of these: the same in all layers."""
        return {}

    @cached_property
    def newest(self) -> Tensor:
        """(Q,) int64, the number of each query's own key."""
        return self.query_positions - self.start

    @cached_property
    def everything(self) -> Selection:
        """All keys."""
        return Selection.everything(self.key_positions.shape[0], self.key_positions.device)

    @cached_property
    def _sizes(self) -> dict[Hashable, Tensor]:
        return {}

    def resolve(self, sizes: Sequence[int | float]) -> Tensor:
        """Keys that ``sizes`` mean for each query; see ``resolve_size``.

        Returns:
            int64 (len(sizes), 1, 1, Q, 1) on the CPU, not to be written to.
        """
        key = tuple((type(size), size) for size in sizes)  # 1 and 1.0 are different sizes
        if key not in self._sizes:
            counts = [resolve_size(size, self.visible_counts) for size in sizes]
            self._sizes[key] = torch.stack(counts)[:, None, None, :, None]
        return self._sizes[key]

    @cached_property
    def first_invisible(self) -> int:
        """The first key that some query does not see; all keys before it are seen by all."""
        keys = self.key_positions.shape[0]
        if self.visible is None:
            return keys
        first_seen = self.asking + 1 - self.visible_counts
        if int(first_seen.max()) > self.start:
            return 0
        return max(0, min(keys, int(self.asking.min()) + 1 - self.start))


class Geometries(dict["_Asked", Geometry]):
    """Those of one step, by what ``Geometry.of`` takes: layers and heads often have the same."""

    def __missing__(self, key: _Asked) -> Geometry:
        self[key] = Geometry.of(*key)
        return self[key]


def hide(values: Tensor, geometry: Geometry) -> None:
    """Write -inf to ``values`` (R, H, G, Q, K) where a key is invisible."""
    if geometry.visible is not None:
        first = geometry.first_invisible
        values[..., first:].masked_fill_(~geometry.visible[:, first:], -torch.inf)
