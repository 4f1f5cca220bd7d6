"""Measurements while decoding: how much was read, and how far off the result is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_attention.attention.scores import SharedScores
from sparse_attention.attention.selection import Selection
from sparse_attention.numerics.gpu import gpu_kernels
from sparse_attention.numerics.tensors import keyed_generator

ERROR_EPSILON = 1e-12
"""Added to the squared norm of the dense output, so that nothing is divided by zero."""


@dataclass(eq=False)
class Probe:
    """What one row, or several that share it, has read so far."""

    place: int
    """Among the running sums of all probes."""
    _keys: Tensor
    """(2, layers) int64: keys that were read, by query head and by key-value head, where only the
    device knows how many."""
    _errors: Tensor
    """(layers,)"""
    _known_keys: tuple[list[int], list[int]]
    """The others, by layer."""
    _visible: list[int]
    """By layer."""
    _outputs: list[int]
    """By layer."""
    _selecting: float = 0.0
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
        visible = sum(self._visible)
        return sum(self._read(kind)) / visible if visible else 1.0

    def _read(self, kind: int) -> list[int]:
        """Keys by layer."""
        known, counted = self._known_keys[kind], self._keys[kind].tolist()
        return [one + other for one, other in zip(known, counted, strict=True)]

    @property
    def selection_share(self) -> float:
        """Bytes read to choose keys / bytes of keys and values that dense attention would read."""
        visible = sum(self._visible)
        return self._selecting / visible if visible else 0.0

    @property
    def attention_error(self) -> float | None:
        """Mean of ``|o - o_dense|^2 / (|o_dense|^2 + epsilon)`` over layers, heads and queries.

        An unbiased estimate where some layers and steps were compared, None where none was to be.
        """
        outputs = sum(self._outputs)
        return float(self._errors.sum()) / outputs if outputs else None

    @property
    def layer_densities(self) -> tuple[float, ...]:
        """The density in each layer."""
        read = zip(self._read(0), self._visible, strict=True)
        return tuple(keys / visible if visible else 1.0 for keys, visible in read)

    @property
    def layer_errors(self) -> tuple[float, ...] | None:
        """The attention error in each layer; None where it was not measured."""
        if not any(self._outputs):
            return None
        found = zip(self._errors.tolist(), self._outputs, strict=True)
        return tuple(error / outputs if outputs else 0.0 for error, outputs in found)


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

    def __init__(self, rows: int, layers: int, device: torch.device) -> None:
        # One more than there are rows: it takes what is not to be counted.
        self._keys = torch.zeros(2, layers, rows + 1, dtype=torch.int64, device=device)
        self._errors = torch.zeros(layers, rows + 1, dtype=torch.float64, device=device)
        self.probes = [
            Probe(
                row,
                self._keys[:, :, row],
                self._errors[:, row],
                ([0] * layers, [0] * layers),
                [0] * layers,
                [0] * layers,
            )
            for row in range(rows + 1)
        ]
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
        shared: SharedScores,
        rows: range,
        selection: Selection,
        *,
        visible: int,
        selecting: Sequence[float] | None = None,
    ) -> None:
        """Count what rows read in one attention operation, over all its heads and queries.

        Args:
            shared: of the operation, of which these rows are a part.
            rows: their places in the batch; the first dimension of the selection.
            selection: what they read.
            visible: keys that all queries of a head would have read with dense attention.
            selecting: for each row, bytes that choosing read, over those of one key and its value;
                None where nothing is chosen.
        """
        layer, geometry, shape = shared.view.layer, shared.geometry, shared.queries.shape[1:4]
        if geometry.visible is not None and selection.lines[-1] == 1:
            selection = selection.restricted_to(geometry.visible)
        full = (len(rows), *shape, 1)
        reads = _known_reads(selection, full, on_device=shared.queries.is_cuda)
        united = reads if selection.lines[2] == 1 else None  # a group may read all the same
        if reads is None or united is None:
            left = [self._add_unknown(layer, rows, selection, full, reads is None)] * len(rows)
            reads, united = reads or left, united or left
        sizes = selecting or [0.0] * len(rows)
        for row, read, of_group, size in zip(rows, reads, united, sizes, strict=True):
            probe = self._rows[row]
            by_query, by_key = probe._known_keys
            by_query[layer] += read
            by_key[layer] += of_group
            probe._visible[layer] += shape[0] * shape[1] * visible
            probe._selecting += size * geometry.visible_total * shape[0] * shape[1]

    def _add_unknown(
        self,
        layer: int,
        rows: range,
        selection: Selection,
        full: tuple[int, ...],
        by_query: bool,
    ) -> int:
        """Add what only the device knows of what rows read.

        Returns:
            Keys that each row reads beside.
        """
        compact, alike = selection.compact, selection.lines[2] == 1
        here = compact is not None and compact.device == self._keys.device and full[3] == 1
        kernels = gpu_kernels("counting") if here and self._keys.is_cuda else None
        if compact is None or compact.indices is None or kernels is None:
            if by_query:
                self._add(layer, rows, selection.counts.expand(full), *((0, 1) if alike else (0,)))
            if not alike:
                self._add(layer, rows, selection.united_counts.expand(full), 1)
            return 0
        heads, group = full[1:3]
        keys, counts, _ = compact.indices.lists((*full[:2], compact.lines[2]))
        sums, places = self._keys[:, layer], self._index[rows.start : rows.stop]
        kernels.count_reads(keys, counts, compact.length, group, sums, places, by_query=by_query)
        return heads * group * compact.spanned

    def _add(self, layer: int, rows: range, counts: Tensor, *kinds: int) -> None:
        """Add keys that rows read, int64 (rows, H, G, Q, 1), to sums on the device."""
        index = self._index[rows.start : rows.stop]
        # Layers of a model that is spread over devices are elsewhere.
        read = counts.sum((1, 2, 3, 4)).to(index.device)
        for kind in kinds:
            self._keys[kind, layer].index_add_(0, index, read)

    def add_errors(self, layer: int, output: Tensor, dense: Tensor | None, every: int = 1) -> None:
        """Compare outputs (rows, heads, group, queries, head_dim) of one attention operation.

        Args:
            layer: of the operation.
            output: of all rows.
            dense: what dense attention gives, or None if this operation is not compared.
            every: one in so many operations is compared, and counts for as many.
        """
        for probe in self._rows:
            probe._outputs[layer] += output[0, ..., 0].numel()
        if dense is None:
            return
        difference = (output - dense).square().sum(-1)
        errors = difference / (dense.square().sum(-1) + ERROR_EPSILON)
        sums = every * errors.sum((1, 2, 3)).double()
        self._errors[layer].index_add_(0, self._index, sums.to(self._index.device))


def _known_reads(
    selection: Selection, full: tuple[int, ...], *, on_device: bool
) -> list[int] | None:
    """Keys that each row reads over (R, H, G, Q, 1) lines; None where only the device knows."""
    known = None if selection.compact is None else selection.compact.sizes
    if known is not None:
        lines = full[1] * full[2] * full[3]
        return [lines * size for size in known] * (full[0] // len(known))
    if on_device:  # which would have to be waited for
        return None
    reads: list[int] = selection.counts.expand(full).sum((1, 2, 3, 4)).tolist()
    return reads
