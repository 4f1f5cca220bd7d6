"""Kernels for a GPU that choose keys: the largest values of each line, and meetings of codes.

With torch each of them is dozens of kernels, whose launching costs more than their work.  Importing
this needs Triton.
"""

from __future__ import annotations

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
def _of_rank(rank):
    """The float32 of a number, uint32, of which greater ones have greater float32."""
    negative = rank < 2147483648
    return tl.where(negative, ~rank, rank ^ 2147483648).to(tl.float32, bitcast=True)


_CHANGING = ["size", "most", "value_row", "value_head", "value_line"]
"""What may be another number at each step: nothing is compiled anew for it."""


@triton.jit(do_not_specialize=_CHANGING)
def _select(
    values,
    counts,
    chosen_ones,
    found,
    size,
    most,
    heads,
    inner,
    value_row,
    value_head,
    value_line,
    count_row,
    count_head,
    count_line,
    MARKED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row, place = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    head, line = place // inner, place % inner
    values += row * value_row + head * value_head + line * value_line
    number_of_line = (row * heads + head) * inner + line
    chosen_ones += number_of_line * (size if MARKED else most)
    offsets = tl.arange(0, BLOCK)
    wanted = tl.load(counts + row * count_row + head * count_head + line * count_line).to(tl.int32)

    # How many places are open.
    open_places = 0
    for start in range(0, size, BLOCK):
        here = start + offsets < size
        value = tl.load(values + start + offsets, mask=here, other=float("-inf"))
        open_places += tl.sum((value > float("-inf")).to(tl.int32))
    count = tl.minimum(wanted, open_places)

    # The ``count``-th largest value, two bits of its rank among all float32 at a time.
    rank = tl.zeros([], tl.uint32)
    for step in tl.static_range(16):
        low = 1 << (30 - 2 * step)
        first, second, third = (
            _of_rank(rank + low),
            _of_rank(rank + 2 * low),
            _of_rank(rank + 3 * low),
        )
        over_first, over_second = tl.zeros([BLOCK], tl.int32), tl.zeros([BLOCK], tl.int32)
        over_third = tl.zeros([BLOCK], tl.int32)
        for start in range(0, size, BLOCK):
            here = start + offsets < size
            value = tl.load(values + start + offsets, mask=here, other=float("-inf"))
            over_first += (value >= first).to(tl.int32)
            over_second += (value >= second).to(tl.int32)
            over_third += (value >= third).to(tl.int32)
        enough = (tl.sum(over_first) >= count).to(tl.uint32)
        enough += (tl.sum(over_second) >= count).to(tl.uint32)
        enough += (tl.sum(over_third) >= count).to(tl.uint32)
        rank += enough * low
    least = _of_rank(rank)

    # All above it are taken, and the first of those that equal it.
    above, equal = tl.zeros([BLOCK], tl.int32), tl.zeros([BLOCK], tl.int32)
    for start in range(0, size, BLOCK):
        here = start + offsets < size
        value = tl.load(values + start + offsets, mask=here, other=float("-inf"))
        above += (value > least).to(tl.int32)
        equal += (here & (value == least)).to(tl.int32)
    left = count - tl.sum(above)
    all_ties = tl.sum(equal) == left  # mostly one, of which no order has to be found
    taken, ties = 0, 0
    for start in range(0, size, BLOCK):
        here = start + offsets < size
        value = tl.load(values + start + offsets, mask=here, other=float("-inf"))
        chosen = (here & (value >= least) & (count > 0)).to(tl.int32)
        if not all_ties:
            tied = (here & (value == least)).to(tl.int32)
            order = ties + tl.cumsum(tied, 0)
            ties += tl.sum(tied)
            chosen = tl.where((tied > 0) & (order > left), 0, chosen)
        if MARKED:
            tl.store(chosen_ones + start + offsets, chosen.to(tl.uint8), mask=here)
        else:
            target = taken + tl.cumsum(chosen, 0) - 1
            tl.store(chosen_ones + target, (start + offsets).to(tl.int64), mask=chosen > 0)
            taken += tl.sum(chosen)
    if not MARKED:
        for start in range(0, most, BLOCK):
            padding = (start + offsets >= count) & (start + offsets < most)
            tl.store(chosen_ones + start + offsets, tl.zeros([BLOCK], tl.int64), mask=padding)
        tl.store(found + number_of_line, count.to(tl.int64))


def heaviest(values: Tensor, counts: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """See ``numerics.heaviest``, with counts on the device; places are in rising order."""
    lines = max(values.shape[0], counts.shape[0]), *values.shape[1:-1]
    places = torch.empty(*lines, most, dtype=torch.int64, device=values.device)
    found = torch.empty(*lines, 1, dtype=torch.int64, device=values.device)
    _run_select(values.expand(*lines, -1), counts.expand(*lines, 1), most, places, found)
    return places, found


def largest(values: Tensor, counts: Tensor) -> Tensor:
    """See ``tensors.largest``, with counts on the device."""
    marked = torch.empty(values.shape, dtype=torch.uint8, device=values.device)
    _run_select(values, counts.expand(*values.shape[:-1], 1), 0, marked, None)
    return marked.view(torch.bool)


def _run_select(
    values: Tensor, counts: Tensor, most: int, chosen: Tensor, found: Tensor | None
) -> None:
    """Fill ``chosen`` with ``most`` places of each line, or else with marks of all values."""
    if not chosen.numel() and found is None:
        return
    values, counts = _as_lines(values), _as_lines(counts)
    rows, heads, inner, size = values.shape
    values = values if values.stride(-1) == 1 else values.contiguous()
    _select[rows, heads * inner](
        values,
        counts,
        chosen,
        chosen if found is None else found,
        size,
        most,
        heads,
        inner,
        *values.stride()[:3],
        *counts.stride()[:3],
        MARKED=found is None,
        BLOCK=_SELECTED,
        num_warps=_SELECTING_WARPS,
    )


def _as_lines(tensor: Tensor) -> Tensor:
    """(..., n) with four dimensions, without a copy of what lies in memory head by head."""
    while tensor.ndim < 4:
        tensor = tensor.unsqueeze(-2)
    return tensor.flatten(2, -2)


@triton.jit(do_not_specialize=["size", "most"])
def _list_true(mask, places, size, most, BLOCK: tl.constexpr):
    line = tl.program_id(0).to(tl.int64)
    mask += line * size
    places += line * most
    offsets = tl.arange(0, BLOCK)
    taken = 0
    for start in range(0, size, BLOCK):
        here = start + offsets < size
        marked = (tl.load(mask + start + offsets, mask=here, other=0) > 0).to(tl.int32)
        target = taken + tl.cumsum(marked, 0) - 1
        tl.store(places + target, (start + offsets).to(tl.int64), mask=marked > 0)
        taken += tl.sum(marked)
    for start in range(taken, most, BLOCK):
        tl.store(places + start + offsets, tl.zeros([BLOCK], tl.int64), mask=start + offsets < most)


def true_places(mask: Tensor, most: int) -> Tensor:
    """The places of ``numerics.true_places``, in rising order; ``most`` is the longest line's."""
    places = torch.empty(*mask.shape[:-1], most, dtype=torch.int64, device=mask.device)
    lines = mask.shape[:-1].numel()
    if lines and most:
        marked = mask.contiguous().view(torch.uint8)
        _list_true[(lines,)](
            marked, places, mask.shape[-1], most, BLOCK=_SELECTED, num_warps=_SELECTING_WARPS
        )
    return places


@triton.jit(do_not_specialize=["queries", "keys", "code_row", "code_head", "code_table"])
def _count_meetings(
    asked,
    codes,
    hits,
    masks,
    tables,
    heads,
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
    mask = tl.load(masks + row)
    met = tl.zeros([QUERIES, BLOCK], tl.int32)
    for _ in range(tl.load(tables + row).to(tl.int32)):
        own = tl.load(asked, mask=query < queries, other=0)
        theirs = tl.load(codes, mask=key < keys, other=0)
        own, theirs = own & mask.to(own.dtype), theirs & mask.to(theirs.dtype)
        met += (own[:, None] == theirs[None, :]).to(tl.int32)
        asked += asked_table
        codes += code_table
    target = hits + (line.to(tl.int64) * queries + query)[:, None] * keys + key[None, :]
    inside = (query < queries)[:, None] & (key < keys)[None, :]
    tl.store(target, met.to(hits.dtype.element_ty), mask=inside)


def count_meetings(
    asked: Tensor, codes: Tensor, masks: Tensor, tables: Tensor, hits: Tensor
) -> None:
    """Count in how many of the first tables codes are the same.

    Args:
        asked: integers (R, H, L, n), codes of queries.
        codes: of the same type (R or 1, H, L, m), codes of keys.
        masks: int64 (R,), the bits that are compared.
        tables: int64 (R,), the tables that count, at most L.
        hits: written to, (R, H, n, m), contiguous.
    """
    rows, heads, _, queries = asked.shape
    keys = codes.shape[-1]
    codes = codes if codes.stride(-1) == 1 else codes.contiguous()
    if not hits.numel():
        return
    grid = rows * heads, triton.cdiv(keys, _MET), triton.cdiv(queries, _ASKING)
    _count_meetings[grid](
        asked,
        codes,
        hits,
        masks,
        tables,
        heads,
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
