"""Keys sorted by their codes, so that a query finds those of its own code without the others.

For processors.  Bit 0 of a code counts most in the order, so that the keys that share their first
bits lie together, for every number of bits: one order serves codes of fewer bits as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

MANY_QUERIES = 16
"""To compare all codes with those of so many queries takes as long as to sort them."""
_FEWEST_BITS = 7
"""Of fewer, so many keys share a code that comparing all is as fast."""
_MOST_BITS = 12
"""Of more, the first keys of all codes would take more memory than the keys."""
_WORTHWHILE = 1 / 32
"""Share of all comparisons that are hits up to which hits are collected: one of them takes as long
as so many comparisons."""
_BLOCK = 1 << 21
"""Hits that are collected at a time, 8 bytes each."""


def worth_sorting(bits: int) -> bool:
    """Whether keys are to be sorted by codes of so many bits."""
    return _FEWEST_BITS <= bits <= _MOST_BITS


def sort_by_code(codes: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """The order of the keys in every table, and where each code begins in it.

    Args:
        codes: (1, H, L, P), from ``simhash.encode`` with ``packing="int64"``.
        bits: of a code, K.

    Returns:
        (H, L, P), numbers of keys as uint16 if they fit and else int32; and (H, L * 2^K + 1) int32,
        where the keys of each table and code begin among those of all tables of a head.
    """
    from scipy.sparse import coo_array  # slow to import, and only needed here

    _, heads, tables, keys = codes.shape
    different = 1 << bits
    order = np.empty((heads, tables * keys), np.uint16 if keys <= 1 << 16 else np.int32)
    starts = np.empty((heads, tables * different + 1), np.int32)
    ranks = _reversed(bits).astype(np.int32)
    table = np.arange(0, tables * different, different, dtype=np.int32)[:, None]
    columns = np.tile(np.arange(keys, dtype=np.int32), tables)
    nothing = np.zeros(columns.shape, dtype=np.int8)
    for head in range(heads):
        lines = np.take(ranks, codes[0, head].numpy(), mode="clip")  # looks for no errors
        lines += table
        # What a sparse matrix is compressed by is a sort by counting.
        matrix = coo_array((nothing, (lines.reshape(-1), columns)), (starts.shape[1] - 1, keys))
        matrix.has_canonical_format = True
        compressed = matrix.tocsr()
        order[head], starts[head] = compressed.indices, compressed.indptr
    return torch.from_numpy(order).view(heads, tables, keys), torch.from_numpy(starts)


def add_meetings(
    asked: Tensor,
    order: Tensor,
    starts: Tensor,
    sizes: Sequence[tuple[int, int]],
    hits: Tensor,
) -> list[bool]:
    """Count the tables in which queries and keys have the same code.

    Args:
        asked: codes of queries, (R, H, L, G, Q).
        order: of the keys, from ``sort_by_code``.
        starts: likewise.
        sizes: for each row, or once for all, how many bits and tables count, the first ones.
        hits: 0, uint8 or int16 (R, H, G, Q, K), contiguous; the first P of K keys get theirs.

    Returns:
        For each of ``sizes`` whether it was done: not where comparing all codes takes less time.
    """
    heads, tables, keys = order.shape
    different = starts.shape[1] // tables
    bits, own_tables = np.array(sizes)[:, :, None, None, None, None].swapaxes(0, 1)
    most = different.bit_length() - 1
    ranks = _reversed(most)[asked.permute(0, 1, 3, 4, 2).numpy()]
    width = 1 << (most - bits)
    head = np.arange(heads)[:, None, None, None]
    at = (ranks & -width) + (head * starts.shape[1] + np.arange(tables) * different)
    flat = starts.numpy().reshape(-1)
    first = flat[at]
    counts = (flat[at + width] - first) * (np.arange(tables) < own_tables)
    compared = counts[0, ..., 0].size * keys * own_tables
    done = counts.sum((1, 2, 3, 4), keepdims=True) <= _WORTHWHILE * compared
    done &= bits >= _FEWEST_BITS
    if len(sizes) == 1:
        done = done.all(0, keepdims=True)
    counts = (counts * done).reshape(-1, tables)
    _collect(counts, (first + head * (tables * keys)).reshape(counts.shape), order, hits)
    found: list[bool] = done.reshape(-1).tolist()
    return found


def _collect(counts: np.ndarray, firsts: np.ndarray, order: Tensor, hits: Tensor) -> None:
    """Add 1 to ``hits`` for ``counts`` keys of each line and table from place ``firsts`` on."""
    everything, numbers, length = hits.view(-1), order.numpy().reshape(-1), hits.shape[-1]
    of_lines = counts.sum(-1, dtype=np.int64)
    ends = of_lines.cumsum()
    cuts = np.searchsorted(ends, np.arange(_BLOCK, ends[-1], _BLOCK)).tolist()
    for start, end in pairwise([0, *dict.fromkeys(cuts), len(ends)]):
        own = counts[start:end].reshape(-1)
        before = own.cumsum() - own
        places = np.repeat(firsts[start:end].reshape(-1) - before, own)
        places += np.arange(len(places))
        met = np.repeat(np.arange(start, end) * length, of_lines[start:end])
        met += np.take(numbers, places, mode="clip")  # looks for no errors, which is faster
        ones = torch.ones((), dtype=hits.dtype).expand(len(met))
        everything.scatter_add_(0, torch.from_numpy(met), ones)


@cache
def _reversed(bits: int) -> np.ndarray:
    """All numbers of so many bits with these in the opposite order, int64."""
    ranks = np.zeros(1, dtype=np.int64)
    for _ in range(bits):
        ranks = np.concatenate([ranks * 2, ranks * 2 + 1])
    return ranks
