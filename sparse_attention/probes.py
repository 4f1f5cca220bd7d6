"""Measurements while decoding: how much was read, and how far off the result is."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

ERROR_EPSILON = 1e-12
"""Added to the squared norm of the dense output, so that nothing is divided by zero."""


@dataclass
class Probe:
    """What one row has read so far.

    Sums stay on the device until they are asked for, so that measuring does not wait for it.
    """

    _read: list[Tensor] = field(default_factory=list)
    _visible: int = 0
    _united: list[Tensor] = field(default_factory=list)
    _selecting: float = 0.0
    _errors: list[Tensor] = field(default_factory=list)
    _outputs: int = 0
    kept_share: float = 1.0
    """Bytes of keys and values that the row held last / those that dense attention holds."""

    def add_reads(self, read: Tensor, united: Tensor, visible: int, selecting: float) -> None:
        """Count keys of one attention operation, over all its heads and queries.

        Args:
            read: scalar, keys that each query head read.
            united: scalar, keys that it or another query head of its key-value head read.
            visible: keys that each query head would have read with dense attention.
            selecting: bytes that choosing read, over those of the keys and values that dense
                attention would have read.
        """
        self._read.append(read)
        self._visible += visible
        self._united.append(united)
        self._selecting += selecting * visible

    def add_error(self, output: Tensor, dense: Tensor) -> None:
        """Compare outputs (heads, group, queries, head_dim) of one attention operation."""
        difference = (output - dense).square().sum(-1)
        error = difference / (dense.square().sum(-1) + ERROR_EPSILON)
        self._errors.append(error.sum())
        self._outputs += error.numel()

    @property
    def density(self) -> float:
        """Keys read / keys that dense attention would read, over layers, heads and queries."""
        return _share(self._read, self._visible)

    @property
    def union_density(self) -> float:
        """The same by key-value head: a key counts if any query head of the group reads it.

        A key-value head must load the union of what its query heads read, so that this is the share
        of the bytes of keys and values that is read.
        """
        return _share(self._united, self._visible)

    @property
    def selection_share(self) -> float:
        """Bytes read to choose keys / bytes of keys and values that dense attention would read."""
        return self._selecting / self._visible if self._visible else 0.0

    @property
    def attention_error(self) -> float | None:
        """Mean of ``|o - o_dense|^2 / (|o_dense|^2 + epsilon)`` over layers, heads and queries.

        None where it was not measured.
        """
        if not self._outputs:
            return None
        return float(torch.stack(self._errors).double().sum()) / self._outputs


def _share(counts: list[Tensor], visible: int) -> float:
    return float(torch.stack(counts).double().sum()) / visible if visible else 1.0
