"""Kernels for a GPU that choose keys: the largest values of each line, and meetings of codes.

With torch each of them is dozens of kernels, whose launching costs more than their work.  Importing
this needs Triton.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from torch import Tensor

_SELECTED = 8192
"""Values of a line that are looked at together."""
_SELECTING_WARPS = 16
_MET = 1024
"""Keys of a program that counts meetings."""
_ASKING = 4
"""Queries of such a program."""


@triton.jit
def _ordered(value):
    """An integer that is ordered as the float32 are, from 0 on."""
    bits = tl.where(value == 0, 0.0, value).to(tl.int32, bitcast=True)  # both zeros are the same
    return tl.where(bits < 0, ~bits, bits | -2147483648).to(tl.uint32, bitcast=True)


@triton.jit(do_not_specialize=["size", "most", "line_stride", "rows_stride"])
def _select(
    values,
    counts,
    places,
    found,
    size,
    most,
    lines,
    line_stride,
    rows_stride,
    MANY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row, line = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    values += row * rows_stride + line * line_stride
    places += (row * lines + line) * most
    offsets, bins = tl.arange(0, BLOCK), tl.arange(0, 256)
    wanted = most
    if MANY:
        wanted = tl.load(counts + row)

    # How many places are open.
    open_places = 0
    for start in range(0, size, BLOCK):
        here = start + offsets < size
        value = tl.load(values + start + offsets, mask=here, other=float("-inf"))
        open_places += tl.sum((value > float("-inf")).to(tl.int32))
    count = tl.minimum(wanted, open_places)

    # Eight bits of the ``count``-th largest value at a time; ``left`` is its rank among the values
    # that agree with it in the bits so far.
    least, left = tl.zeros([], tl.uint32), count
    for step in tl.static_range(4):
        shift = 24 - 8 * step
        histogram = tl.zeros([256], tl.int32)
        for start in range(0, size, BLOCK):
            here = start + offsets < size
            number = _ordered(tl.load(values + start + offsets, mask=here, other=0.0))
            if step > 0:
                here = here & ((number >> (shift + 8)) == (least >> (shift + 8)))
            digits = ((number >> shift) & 255).to(tl.int32)
            histogram += tl.histogram(digits, 256, mask=here)
        # Values with a digit of at least d; the digit looked for is the greatest with enough.
        below = tl.cumsum(histogram, 0) - histogram
        total = tl.sum(histogram)
        enough = (total - below) >= left
        digit = tl.max(tl.where(enough, bins, 0))
        above = tl.sum(tl.where(bins > digit, histogram, 0))
        left -= above
        least = least | (digit.to(tl.uint32) << shift)

    # All above it are taken, and the first ``left`` of those that equal it.
    taken, ties = 0, 0
    for start in range(0, size, BLOCK):
        here = start + offsets < size
        number = _ordered(tl.load(values + start + offsets, mask=here, other=0.0))
        equal = (here & (number == least)).to(tl.int32)
        rank = ties + tl.cumsum(equal, 0)
        chosen = (here & (number > least)) | ((equal > 0) & (rank <= left))
        chosen = (chosen & (count > 0)).to(tl.int32)
        target = taken + tl.cumsum(chosen, 0) - 1
        tl.store(places + target, (start + offsets).to(tl.int64), mask=chosen > 0)
        taken += tl.sum(chosen)
        ties += tl.sum(equal)
    for start in range(0, most, BLOCK):
        padding = (start + offsets >= count) & (start + offsets < most)
        tl.store(places + start + offsets, tl.zeros([BLOCK], tl.int64), mask=padding)
    tl.store(found + row * lines + line, count.to(tl.int64))


def heaviest(values: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """See ``numerics.heaviest``; places are in rising order."""
    rows, (*inner, size) = max(values.shape[0], len(counts)), values.shape[1:]
    lined = values.reshape(values.shape[0], -1, size)
    lined = lined if lined.stride(-1) == 1 else lined.contiguous()
    lines, most = lined.shape[1], max(counts)
    places = torch.empty(rows, *inner, most, dtype=torch.int64, device=values.device)
    found = torch.empty(rows, *inner, 1, dtype=torch.int64, device=values.device)
    many = len(counts) > 1
    wanted = torch.tensor(counts, dtype=torch.int32) if many else found
    _select[rows, lines](
        lined,
        wanted.to(values.device, non_blocking=True),
        places,
        found,
        size,
        most,
        lines,
        lined.stride(1),
        lined.stride(0) if values.shape[0] > 1 else 0,
        MANY=many,
        BLOCK=_SELECTED,
        num_warps=_SELECTING_WARPS,
    )
    return places, found


@triton.jit(do_not_specialize=["queries", "keys"])
def _count_meetings(
    asked,
    codes,
    hits,
    heads,
    tables,
    queries,
    keys,
    asked_row,
    asked_head,
    asked_table,
    asked_query,
    code_row,
    code_head,
    code_table,
    QUERIES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    line, part = tl.program_id(0), tl.program_id(1)
    row, head = (line // heads).to(tl.int64), (line % heads).to(tl.int64)
    query = tl.program_id(2) * QUERIES + tl.arange(0, QUERIES)
    key = part * BLOCK + tl.arange(0, BLOCK)
    asked += row * asked_row + head * asked_head + query * asked_query
    codes += row * code_row + head * code_head + key
    met = tl.zeros([QUERIES, BLOCK], tl.int32)
    for _ in range(tables):
        own = tl.load(asked, mask=query < queries, other=0)
        theirs = tl.load(codes, mask=key < keys, other=0)
        met += (own[:, None] == theirs[None, :]).to(tl.int32)
        asked += asked_table
        codes += code_table
    target = hits + (line.to(tl.int64) * queries + query)[:, None] * keys + key[None, :]
    inside = (query < queries)[:, None] & (key < keys)[None, :]
    tl.store(target, met.to(hits.dtype.element_ty), mask=inside)


def count_meetings(asked: Tensor, codes: Tensor, hits: Tensor) -> None:
    """Count in how many of L tables codes are the same.

    Args:
        asked: integers (R, H, L, n), codes of queries.
        codes: of the same type (R or 1, H, L, m), codes of keys.
        hits: written to, (R, H, n, m), contiguous.
    """
    rows, heads, tables, queries = asked.shape
    keys = codes.shape[-1]
    codes = codes if codes.stride(-1) == 1 else codes.contiguous()
    if not hits.numel():
        return
    grid = rows * heads, triton.cdiv(keys, _MET), triton.cdiv(queries, _ASKING)
    _count_meetings[grid](
        asked,
        codes,
        hits,
        heads,
        tables,
        queries,
        keys,
        *asked.stride(),
        codes.stride(0) if codes.shape[0] > 1 else 0,
        codes.stride(1),
        codes.stride(2),
        QUERIES=_ASKING,
        BLOCK=_MET,
        num_warps=4,
    )
