"""Measurements while decoding: how much was read, and how far off the result is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_attention.attention.geometry import Geometry
from sparse_attention.attention.selection import Selection
from sparse_attention.numerics.tensors import keyed_generator

ERROR_EPSILON = 1e-12
"""Added to the squared norm of the dense output, so that nothing is divided by zero."""


@dataclass(eq=False)
class Probe:
    """What one row, or several that share it, has read so far."""

    place: int
    """Among the running sums of all probes."""
    _keys: Tensor
    """(2,) int64: keys that were read, by query head and by key-value head, where only the device
    knows how many."""
    _error: Tensor
    _known_keys: tuple[int, int] = (0, 0)
    """The others."""
    _visible: int = 0
    _selecting: float = 0.0
    _outputs: int = 0
    kept_share: float = 1.0
    """Bytes of keys and values that the row held last / those that dense attention holds."""

    @property
    def density(self) -> float:
        """Keys read / keys that dense attention would read, over layers, heads and queries."""
        return self._share(0)

    @property
    def union_density(self) -> float:
        """The same by key-value head: a key counts if any query head of the group reads it.

        A key-value head must load the union of what its query heads read, so that this is the share
        of the bytes of keys and values that is read.
        """
        return self._share(1)

    def _share(self, kind: int) -> float:
        read = self._known_keys[kind] + int(self._keys[kind])
        return read / self._visible if self._visible else 1.0

    @property
    def selection_share(self) -> float:
        """Bytes read to choose keys / bytes of keys and values that dense attention would read."""
        return self._selecting / self._visible if self._visible else 0.0

    @property
    def attention_error(self) -> float | None:
        """Mean of ``|o - o_dense|^2 / (|o_dense|^2 + epsilon)`` over layers, heads and queries.

        An unbiased estimate where some layers and steps were compared, None where none was to be.
        """
        return float(self._error) / self._outputs if self._outputs else None


class Turns:
    """Which layers are compared with dense attention in which step: one in ``every`` of them.

    Each is as likely as the others, over the samples, because the first step has a random number.
    """

    def __init__(self, every: int, *key: object) -> None:
        """``key`` names the sample."""
        generator = keyed_generator(torch.device("cpu"), "turns", *key)
        self.every, self.step = every, int(torch.randint(every, (), generator=generator))

    def come(self, layer: int) -> bool:
        """Whether a layer is compared in this step."""
        return (self.step + layer) % self.every == 0


class Probes:
    """Running sums of what the rows of a batch read.

    They lie in one place on the device: an operation adds to those of all its rows at once, nothing
    grows with the number of operations, and nothing waits for the device until a probe is asked.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        # One more than there are rows: it takes what is not to be counted.
        self._keys = torch.zeros(2, rows + 1, dtype=torch.int64, device=device)
        self._errors = torch.zeros(rows + 1, dtype=torch.float64, device=device)
        sums = zip(self._keys.T, self._errors, strict=True)
        self.probes = [Probe(place, keys, error) for place, (keys, error) in enumerate(sums)]
        self._rows: list[Probe] = []
        self._index = torch.zeros(0, dtype=torch.int64, device=device)

    @property
    def unread(self) -> Probe:
        """What rows add to that are not to be measured any more."""
        return self.probes[-1]

    def assign(self, rows: Sequence[Probe]) -> None:
        """Let row i of the batch add to ``rows[i]``."""
        self._rows = list(rows)
        self._index = torch.tensor([probe.place for probe in rows], device=self._index.device)

    def add_reads(
        self,
        rows: range,
        selection: Selection,
        shape: tuple[int, int, int],
        geometry: Geometry,
        *,
        visible: int,
        selecting: Sequence[float],
    ) -> None:
        """Count what rows read in one attention operation, over all its heads and queries.

        Args:
            rows: their places in the batch; the first dimension of the selection.
            selection: what they read.
            shape: key-value heads, query heads for each of them, queries.
            geometry: of the operation.
            visible: keys that all queries of a head would have read with dense attention.
            selecting: for each row, bytes that choosing read, over those of one key and its value.
        """
        if geometry.visible is not None and selection.lines[-1] == 1:
            selection = selection.restricted_to(geometry.visible)
        lines = shape[0] * shape[1] * shape[2]
        known = None if selection.compact is None else selection.compact.sizes
        alike = selection.lines[2] == 1  # all query heads of a group read the same
        full = (len(rows), *shape, 1)
        if known is None:
            self._add(0, rows, selection.counts.expand(full))
        if not alike:
            self._add(1, rows, selection.united_counts.expand(full))
        elif known is None:
            self._add(1, rows, selection.counts.expand(full))
        reads = [0] * len(rows) if known is None else [lines * size for size in known]
        reads = reads if len(reads) == len(rows) else reads * len(rows)
        for row, read, size in zip(rows, reads, selecting, strict=True):
            probe = self._rows[row]
            by_query, by_key = probe._known_keys
            probe._known_keys = by_query + read, by_key + (read if alike else 0)
            probe._visible += shape[0] * shape[1] * visible
            probe._selecting += size * geometry.visible_total * shape[0] * shape[1]

    def _add(self, kind: int, rows: range, counts: Tensor) -> None:
        """Add keys that rows read, int64 (rows, H, G, Q, 1), to the sums on the device."""
        index = self._index[rows.start : rows.stop]
        # Layers of a model that is spread over devices are elsewhere.
        self._keys[kind].index_add_(0, index, counts.sum((1, 2, 3, 4)).to(index.device))

    def add_errors(self, output: Tensor, dense: Tensor | None, every: int = 1) -> None:
        """Compare outputs (rows, heads, group, queries, head_dim) of one attention operation.

        Args:
            output: of all rows.
            dense: what dense attention gives, or None if this operation is not compared.
            every: one in so many operations is compared, and counts for as many.
        """
        for probe in self._rows:
            probe._outputs += output[0, ..., 0].numel()
        if dense is None:
            return
        difference = (output - dense).square().sum(-1)
        errors = difference / (dense.square().sum(-1) + ERROR_EPSILON)
        sums = every * errors.sum((1, 2, 3)).double()
        self._errors.index_add_(0, self._index, sums.to(self._index.device))
