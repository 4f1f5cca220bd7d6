"""The largest values of each line: their places, or a mask of them."""

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
    if values.is_cuda:
        return _on_gpu(values, counts.clamp(max=values.shape[-1]), enough, first)
    flat, wanted, shape = _as_lines(values, counts)
    taken, found = _highest(flat, wanted)
    lines, most = len(flat), int(wanted.max())
    starts = flat.shape[1] * np.arange(lines) - first
    if taken.size == lines * most:
        places = taken.reshape(lines, most) - starts[:, None]
        return torch.from_numpy(places).view(*shape, most), None
    places = np.zeros((lines, most), dtype=np.int64)
    places[np.arange(most) < found[:, None]] = taken - starts.repeat(found)
    return torch.from_numpy(places).view(*shape, most), torch.from_numpy(found).view(*shape, 1)


def largest(values: Tensor, counts: Tensor) -> Tensor:
    """Where the largest values of each line are; see ``heaviest``.

    Returns:
        bool (R, ..., n).
    """
    if values.is_cuda:
        lines = torch.broadcast_shapes(values.shape[:-1], counts.shape[:-1])
        values, kernels = values.expand(*lines, -1), gpu_kernels("choosing")
        if kernels is not None:
            marked: Tensor = kernels.largest(values, counts.to(values.device, non_blocking=True))
            return marked
        places, found = heaviest(values, counts)
        assert found is not None, "it is where nobody says that there are enough"
        taken = torch.arange(places.shape[-1], device=values.device) < found
        return torch.zeros_like(values, dtype=torch.bool).scatter_(-1, places, taken)
    flat, wanted, shape = _as_lines(values, counts)
    chosen = np.zeros(flat.shape, dtype=bool)
    chosen.reshape(-1)[_highest(flat, wanted)[0]] = True
    return torch.from_numpy(chosen).view(*shape, -1)


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


def _as_lines(values: Tensor, counts: Tensor) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Values (m, n), counts (m,), at most n, and the shape of the m lines."""
    size = values.shape[-1]
    if counts.numel() == 1:
        flat = values.reshape(-1, size).numpy()
        return flat, np.full(len(flat), min(int(counts), size)), values.shape[:-1]
    shape = np.broadcast_shapes(values.shape[:-1], counts.shape[:-1])
    flat = values.expand(*shape, -1).reshape(-1, size).numpy()
    return flat, counts.clamp(max=size).expand(*shape, 1).reshape(-1).numpy(), shape


def _highest(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the largest of each line (m, n) in all lines together, and how many of each (m,).

    All values are compared with a bar, and those above it among themselves: of a long line few.
    NumPy's comparison, partition and sorting use vector instructions where torch's do not.
    """
    if not counts.any():
        return np.zeros(0, dtype=np.int64), counts
    starts, bars = values.shape[1] * np.arange(len(values) + 1), _bars(values, counts)
    taken, bounds, found = _from_bars(values, bars, starts)
    short = (found < counts) & (bars > _LEAST)
    if short.any():  # the part was not like the whole
        bars[short] = _from_above(values[short], counts[short])
        taken, bounds, found = _from_bars(values, bars, starts)
    more = np.flatnonzero(found > counts)
    if more.size:
        kept = np.ones(taken.size, dtype=bool)
        for line in more:
            here = slice(bounds[line], bounds[line + 1])
            kept[here] = _are_largest(values[line].take(taken[here] - starts[line]), counts[line])
        taken, found = taken[kept], np.minimum(found, counts)
    return taken, found


def _bars(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The ``counts``-th largest value of each line (m, n), and at least a finite one: (m,).

    Of long lines it is estimated from a part: rarely too high, and not much too low.
    """
    if values.shape[1] < _LONG or counts.max() > values.shape[1] * _FEW:
        return _from_above(values, counts)
    expected = counts / _STEP
    of_part = (expected + _DEVIATIONS * np.sqrt(expected)).astype(np.int64) + 1
    return _from_above(values[:, ::_STEP], of_part)


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


def _from_above(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``_bars`` exactly."""
    places = values.shape[1] - np.maximum(counts, 1)
    first = places[0]
    if (places == first).all():
        bars = np.partition(values, first, axis=-1)[:, first]
    else:  # a partition at several places takes longer
        bars = np.sort(values, axis=-1)[np.arange(len(values)), places]
    return np.maximum(bars, _LEAST)


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
