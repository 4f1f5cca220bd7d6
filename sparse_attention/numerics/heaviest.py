"""The largest values of each line by their places; see ``tensors.largest`` for a mask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sparse_attention.numerics.gpu import gpu_kernels
from sparse_attention.numerics.tensors import count_true

if TYPE_CHECKING:
    from torch import Tensor


def heaviest(
    values: Tensor, counts: Tensor, *, enough: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Places of the largest values of each line; of equal values those of the lowest places.

    Args:
        values: float32 (R or 1, ..., n), -inf where a place must not be taken.
        counts: int64 (R or 1, ..., 1), how many places of each line are taken at most; inner
            dimensions may be 1, for the same number.  Nothing waits for a device if they are on
            the processor.
        enough: whether each line is known to have so many places above -inf.

    Returns:
        int64 (R, ..., m), in any order, and how many of a line count, int64, broadcasting to
        (R, ..., 1); None where all do.
    """
    counts = counts.clamp(max=values.shape[-1])
    if values.is_cuda:
        return _on_gpu(values, counts, enough)
    if counts.shape[1:].numel() > 1:
        return _each_its_own(values, counts)
    lines = values.shape[1:-1]
    of_rows = counts.flatten().tolist()
    rows = []
    for row in range(max(values.shape[0], len(of_rows))):
        own = values[row if values.shape[0] > 1 else 0].numpy().reshape(-1, values.shape[-1])
        rows.append(_of_row(own, of_rows[row if len(of_rows) > 1 else 0]))
    width = max(places.shape[-1] for places, _ in rows)
    if all(found is None and places.shape[-1] == width for places, found in rows):
        return torch.from_numpy(np.stack([places for places, _ in rows])).unflatten(1, lines), None
    padded = np.zeros((len(rows), rows[0][0].shape[0], width), dtype=np.int64)
    for room, (places, _) in zip(padded, rows, strict=True):
        room[:, : places.shape[-1]] = places
    found = [
        np.full((own.shape[0], 1), own.shape[-1]) if few is None else few[:, None]
        for own, few in rows
    ]
    number = torch.from_numpy(np.stack(found))
    return torch.from_numpy(padded).unflatten(1, lines), number.unflatten(1, lines)


def true_places(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the true entries of each line of a bool tensor (..., n).

    Returns:
        int64 (..., m), padded to the longest line, and how many of a line count, int64 (..., 1).
    """
    counts = count_true(mask)
    most = int(counts.max())
    kernels = gpu_kernels() if mask.is_cuda else None
    if kernels is not None:
        return kernels.true_places(mask, most), counts
    places = torch.zeros(*mask.shape[:-1], most, dtype=torch.int64, device=mask.device)
    taken = torch.arange(most, device=mask.device) < counts
    if mask.is_cuda:
        places[taken] = mask.flatten().nonzero()[:, 0] % mask.shape[-1]
        return places, counts
    per_line = counts.numpy().reshape(-1)
    firsts = np.repeat(np.arange(per_line.size) * mask.shape[-1], per_line)
    places.numpy()[taken.numpy()] = np.flatnonzero(mask.numpy()) - firsts
    return places, counts


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


def _each_its_own(values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """``heaviest`` where the lines of a row have counts of their own."""
    most = counts.amax().view((1,) * counts.ndim)
    places, found = heaviest(values, most)
    chosen = values.gather(-1, places)
    if found is not None:
        chosen.masked_fill_(torch.arange(places.shape[-1]) >= found, -torch.inf)
        counts = torch.minimum(counts, found)
    order = chosen.sort(dim=-1, descending=True, stable=True).indices
    places = places.gather(-1, order)
    return places.expand(max(values.shape[0], counts.shape[0]), *places.shape[1:]), counts


def _on_gpu(values: Tensor, counts: Tensor, enough: bool) -> tuple[Tensor, Tensor | None]:
    most, kernels = int(counts.max()), gpu_kernels()
    wanted = counts.to(values.device, non_blocking=True)
    if kernels is None:
        places, found = _by_sorting(values, most)
        rows = max(values.shape[0], counts.shape[0])
        places, found = places.expand(rows, *places.shape[1:]), torch.minimum(wanted, found)
    else:
        places, found = kernels.heaviest(values, wanted, most)
    if enough:
        return places, None if counts.numel() == 1 else wanted
    return places, found


def _by_sorting(values: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """``heaviest`` without a wait for the device: numbers that no two places share are sorted."""
    size = values.shape[-1]
    bits = values.contiguous().view(torch.int32).long()
    # Negative floats are ordered the wrong way round by their bits.
    ranks = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    places = torch.arange(size, device=values.device)
    keyed = ranks * (1 << 32) + (size - 1 - places)
    best = keyed.topk(most, dim=-1).values
    return size - 1 - (best & 0xFFFFFFFF), (values > -torch.inf).sum(-1, keepdim=True)
