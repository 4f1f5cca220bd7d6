"""Measurements while decoding: how much was read, and how far off the result is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ERROR_EPSILON = 1e-12
"""Added to the squared norm of the dense output, so that nothing is divided by zero."""


@dataclass(eq=False)
class Probe:
    """What one row, or several that share it, has read so far."""

    _keys: Tensor
    """(2,) int64: keys that were read, by query head and by key-value head."""
    _error: Tensor
    _visible: int = 0
    _selecting: float = 0.0
    _outputs: int = 0
    kept_share: float = 1.0
    """Bytes of keys and values that the row held last / those that dense attention holds."""

    @property
    def density(self) -> float:
        """Keys read / keys that dense attention would read, over layers, heads and queries."""
        return int(self._keys[0]) / self._visible if self._visible else 1.0

    @property
    def union_density(self) -> float:
        """The same by key-value head: a key counts if any query head of the group reads it.

        A key-value head must load the union of what its query heads read, so that this is the share
        of the bytes of keys and values that is read.
        """
        return int(self._keys[1]) / self._visible if self._visible else 1.0

    @property
    def selection_share(self) -> float:
        """Bytes read to choose keys / bytes of keys and values that dense attention would read."""
        return self._selecting / self._visible if self._visible else 0.0

    @property
    def attention_error(self) -> float | None:
        """Mean of ``|o - o_dense|^2 / (|o_dense|^2 + epsilon)`` over layers, heads and queries.

        None where it was not measured.
        """
        return float(self._error) / self._outputs if self._outputs else None


class Probes:
    """The probe of each row of a batch.

    All of them are running sums in one place on the device: an operation adds to those of all its
    rows at once, nothing grows with the number of operations, and nothing waits for the device
    until a probe is asked.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        # One more than there are rows: it takes what is not to be counted.
        self._keys = torch.zeros(2, rows + 1, dtype=torch.int64, device=device)
        self._errors = torch.zeros(rows + 1, dtype=torch.float64, device=device)
        self._probes = [
            Probe(keys, error) for keys, error in zip(self._keys.T, self._errors, strict=True)
        ]
        self._assign(range(rows))

    def __getitem__(self, row: int) -> Probe:
        return self._probes[self._places[row]]

    def _assign(self, places: Sequence[int]) -> None:
        """Let row i add to probe ``places[i]``."""
        self._places = list(places)
        self._index = torch.tensor(self._places, dtype=torch.int64, device=self._keys.device)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch only."""
        self._assign([self._places[row] for row in rows])

    def share(self) -> None:
        """Let all rows add to the probe of the first."""
        self._assign(self._places[:1] * len(self._places))

    def stop(self, row: int) -> None:
        """Count nothing more for a row."""
        places = list(self._places)
        places[row] = len(self._probes) - 1
        self._assign(places)

    def add_reads(
        self,
        rows: range,
        read: Tensor,
        united: Tensor,
        visible: int,
        selecting: Sequence[float],
    ) -> None:
        """Count keys of one attention operation, over all its heads and queries.

        Args:
            rows: those that the operation was for.
            read: int64, a number for each row: keys that each query head read.
            united: the same of keys that it or another query head of its key-value head read.
            visible: keys that each query head would have read with dense attention.
            selecting: for each row, bytes that choosing read, over those of the keys and values
                that dense attention would have read.
        """
        index = self._index[rows.start : rows.stop]
        self._keys[0].index_add_(0, index, read)
        self._keys[1].index_add_(0, index, united)
        for row, share in zip(rows, selecting, strict=True):
            probe = self[row]
            probe._visible += visible
            probe._selecting += share * visible

    def add_errors(self, output: Tensor, dense: Tensor) -> None:
        """Compare outputs (rows, heads, group, queries, head_dim) of one attention operation."""
        difference = (output - dense).square().sum(-1)
        errors = difference / (dense.square().sum(-1) + ERROR_EPSILON)
        self._errors.index_add_(0, self._index, errors.sum((1, 2, 3)).double())
        for place in self._places:
            self._probes[place]._outputs += errors[0].numel()
