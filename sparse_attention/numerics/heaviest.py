"""The largest values of each line by their places; see ``tensors.largest`` for a mask of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from sparse_attention.numerics.gpu import gpu_kernels

if TYPE_CHECKING:
    from torch import Tensor


def heaviest(values: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """Places of the largest values of each line; of equal values those of the lowest places.

    Args:
        values: float32 (R or 1, ..., n), -inf where a place must not be taken.
        counts: how many places of each line are taken at most, for each of R rows or one for all.

    Returns:
        int64 (R, ..., m), in any order, and how many of a line count, int64 (R, ..., 1), None where
        all do.
    """
    counts = [min(count, values.shape[-1]) for count in counts]
    if values.is_cuda:
        kernels = gpu_kernels()
        return _by_sorting(values, counts) if kernels is None else kernels.heaviest(values, counts)
    lines = values.shape[1:-1]
    rows = []
    for row in range(max(values.shape[0], len(counts))):
        own = values[row if values.shape[0] > 1 else 0].numpy().reshape(-1, values.shape[-1])
        rows.append(_of_row(own, counts[row if len(counts) > 1 else 0]))
    width = max(places.shape[-1] for places, _ in rows)
    if all(found is None and places.shape[-1] == width for places, found in rows):
        return torch.from_numpy(np.stack([places for places, _ in rows])).unflatten(1, lines), None
    padded = [np.pad(places, ((0, 0), (0, width - places.shape[-1]))) for places, _ in rows]
    found = [
        np.full((own.shape[0], 1), own.shape[-1]) if few is None else few[:, None]
        for own, few in rows
    ]
    places, number = (torch.from_numpy(np.stack(part)) for part in (padded, found))
    return places.unflatten(1, lines), number.unflatten(1, lines)


def _of_row(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Places of the ``count`` largest of each line (m, n), and how many there are if any has fewer.

    NumPy's partition uses vector instructions where torch's ``topk`` does not.
    """
    lines, size = values.shape
    if not count:
        return np.zeros((lines, 0), dtype=np.int64), None
    threshold = np.partition(values, size - count, axis=-1)[:, size - count, None]
    flat = np.flatnonzero(values >= threshold)
    if flat.size == lines * count and np.isfinite(threshold).all():
        return flat.reshape(lines, count) - size * np.arange(lines)[:, None], None
    places = np.zeros((lines, count), dtype=np.int64)
    found = np.zeros(lines, dtype=np.int64)
    for line, (own, least) in enumerate(zip(values, threshold[:, 0], strict=True)):
        above = np.flatnonzero(own > least)
        ties = np.flatnonzero(own == least)[: count - above.size] if least > -np.inf else above[:0]
        found[line] = above.size + ties.size
        places[line, : above.size] = above
        places[line, above.size : found[line]] = ties
    return places, None if (found == count).all() else found


def _by_sorting(values: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """``heaviest`` without a wait for the device: numbers that no two places share are sorted."""
    most, size = max(counts), values.shape[-1]
    bits = values.contiguous().view(torch.int32).long()
    # Negative floats are ordered the wrong way round by their bits.
    ranks = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    places = torch.arange(size, device=values.device)
    keyed = ranks * (1 << 32) + (size - 1 - places)
    best = keyed.topk(most, dim=-1).values
    chosen = size - 1 - (best & 0xFFFFFFFF)
    wanted = torch.tensor(counts).view(-1, *[1] * (values.ndim - 1)).to(values.device)
    open_places = (values > -torch.inf).sum(-1, keepdim=True)
    rows = max(values.shape[0], len(counts))
    return chosen.expand(rows, *chosen.shape[1:]), torch.minimum(wanted, open_places)
