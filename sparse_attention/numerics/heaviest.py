"""The largest values of each line by their places; see ``tensors.largest`` for a mask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sparse_attention.numerics.gpu import gpu_kernels
from sparse_attention.numerics.tensors import count_true

if TYPE_CHECKING:
    from torch import Tensor

_LEAST = (2.0**-23 - 2.0) * 2.0**127
"""The least finite float32."""
_STEP = 16
"""Of a long line one value in so many says where about the largest begin."""
_LONG = 3000
"""Values of a line from which on that pays."""
_FEW = 0.3
"""Share of a line up to which that pays, too."""
_DEVIATIONS = 3.0
"""Standard deviations by which more of these are taken than are expected among the largest."""


def heaviest(
    values: Tensor, counts: Tensor, *, enough: bool = False, first: int = 0
) -> tuple[Tensor, Tensor | None]:
    """Places of the largest values of each line; of equal values those of the lowest places.

    Args:
        values: float32 (R or 1, ..., n), -inf where a place must not be taken.
        counts: int64 (R or 1, ..., 1), how many places of each line are taken at most; inner
            dimensions may be 1, for the same number.  Nothing waits for a device if they are on
            the processor.
        enough: whether each line is known to have so many places above -inf.
        first: number of the place that comes first.

    Returns:
        int64 (R, ..., m), in rising order on a processor, else in any order; and how many of a line
        count, int64, broadcasting to (R, ..., 1), None where all do.
    """
    *lines, size = values.shape[1:]
    if values.is_cuda or counts.shape[1:].numel() > 1:
        counts = counts.clamp(max=size)
        if values.is_cuda:
            return _on_gpu(values, counts, enough, first)
        numbers, taken = _each_its_own(values, counts)
        return numbers + first, taken
    flat = values.numpy()
    wanted = [min(count, size) for count in counts.flatten().tolist()]
    rows = max(flat.shape[0], len(wanted))
    if len(set(wanted)) == 1 and rows == flat.shape[0]:
        own_lines = flat.reshape(-1, size)
        places, found = _of_lines(own_lines, np.full(len(own_lines), wanted[0]), first)
    else:
        places, found = _of_rows(flat.reshape(flat.shape[0], -1, size), wanted, first)
    places = places.reshape(rows, *lines, places.shape[-1])
    found = None if found is None else found.reshape(rows, *lines, 1)
    return torch.from_numpy(places), None if found is None else torch.from_numpy(found)


def true_places(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the true entries of each line of a bool tensor (..., n).

    Returns:
        int64 (..., m), padded to the longest line, and how many of a line count, int64 (..., 1).
    """
    counts = count_true(mask)
    most = int(counts.max())
    kernels = gpu_kernels("choosing") if mask.is_cuda else None
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


def _of_rows(values: np.ndarray, counts: list[int], first: int) -> tuple[np.ndarray, np.ndarray]:
    """``heaviest`` of rows (R or 1, m, n), each with a count of its own."""
    lines = values.shape[1]
    places = np.zeros((len(counts), lines, max(counts)), dtype=np.int64)
    found = np.empty((len(counts), lines), dtype=np.int64)
    for row, count in enumerate(counts):
        wanted = np.full(lines, count)
        own, few = _of_lines(values[row if len(values) > 1 else 0], wanted, first)
        places[row, :, :count] = own
        found[row] = count if few is None else few
    return places, found


def _of_lines(
    values: np.ndarray, counts: np.ndarray, first: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Places of the largest of each line (m, n), so many of each, and how many if any has fewer.

    All places are compared with a bar, and what is above it is partitioned: of a long line that is
    little.  NumPy's comparison and partition use vector instructions where torch's do not.
    """
    lines, size = values.shape
    most = int(counts.max())
    if not most:
        return np.zeros((lines, 0), dtype=np.int64), None
    starts = size * np.arange(lines + 1)
    bars = _bars(values, most, _STEP if size >= _LONG and most <= size * _FEW else 1)
    taken, bounds, found = _from_bars(values, bars, starts)
    if ((found < counts) & (bars > _LEAST)).any():  # the part was not like the whole
        taken, bounds, found = _from_bars(values, _bars(values, most, 1), starts)
    more = np.flatnonzero(found > counts)
    if more.size:
        kept = np.ones(taken.size, dtype=bool)
        for line in more:
            here = slice(bounds[line], bounds[line + 1])
            kept[here] = _are_largest(values[line].take(taken[here] - starts[line]), counts[line])
        taken, found = taken[kept], np.minimum(found, counts)
    if taken.size == lines * most:
        return taken.reshape(lines, most) - (starts[:-1, None] - first), None
    places = np.zeros((lines, most), dtype=np.int64)
    places[np.arange(most) < found[:, None]] = taken - (starts[:-1] - first).repeat(found)
    return places, found


def _bars(values: np.ndarray, count: int, step: int) -> np.ndarray:
    """The ``count``-th largest value of each line (m, n), and at least a finite one: (m,).

    With a ``step`` above 1 it is estimated from one value in so many: rarely too high, and of long
    lines not much too low.
    """
    if step > 1:
        expected = count / step
        values, count = values[:, ::step], int(expected + _DEVIATIONS * expected**0.5) + 1
    least = values.shape[1] - count
    return np.maximum(np.partition(values, least, axis=-1)[:, least], _LEAST)


def _from_bars(
    values: np.ndarray, bars: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places in all lines (m, n) together whose values are not below the bar of their line (m,).

    With ``starts`` (m + 1,), the first place of each line; also where among those found each line
    begins, (m + 1,), and how many are found of each, (m,).
    """
    taken = np.flatnonzero(values >= bars[:, None])
    bounds = taken.searchsorted(starts)
    return taken, bounds, bounds[1:] - bounds[:-1]


def _are_largest(values: np.ndarray, count: int) -> np.ndarray:
    """Which of ``values`` (n,) are the largest so many, fewer than n; of equal ones the first."""
    if not count:
        return np.zeros(values.shape, dtype=bool)
    bar = np.partition(values, values.size - count)[values.size - count]
    largest: np.ndarray = values >= bar
    more = np.count_nonzero(largest) - count
    if more:
        largest[np.flatnonzero(values == bar)[-more:]] = False
    return largest


def _each_its_own(values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """``heaviest`` where the lines of a row have counts of their own."""
    lines = np.broadcast_shapes(values.shape[:-1], counts.shape[:-1])
    flat = values.expand(*lines, -1).reshape(-1, values.shape[-1]).numpy()
    wanted = counts.expand(*lines, 1).reshape(-1)
    places, found = _of_lines(flat, wanted.numpy(), 0)
    counted = wanted if found is None else torch.from_numpy(found)
    return torch.from_numpy(places).view(*lines, -1), counted.view(*lines, 1)


def _on_gpu(
    values: Tensor, counts: Tensor, enough: bool, first: int
) -> tuple[Tensor, Tensor | None]:
    most, kernels = int(counts.max()), gpu_kernels("choosing")
    wanted = counts.to(values.device, non_blocking=True)
    if kernels is None:
        places, found = _by_sorting(values, most)
        places += first
        rows = max(values.shape[0], counts.shape[0])
        places, found = places.expand(rows, *places.shape[1:]), torch.minimum(wanted, found)
    else:
        places, found = kernels.heaviest(values, wanted, most, first)
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
