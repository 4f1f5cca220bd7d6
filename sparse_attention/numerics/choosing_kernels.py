"""Kernels for a GPU that choose keys: the largest values of each line, and those that are marked.

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

# The fastest of ten settings on an H200, for lines of 8000 to 131072 values.
_BLOCK = 4096
"""Values of a line that are looked at together, by one warp for each ``_PER_WARP`` of them."""
_LONG = 65536
"""Values of a line from which on twice as many are, because there are few such lines at a time."""
_PER_WARP = 512


@triton.jit
def _of_rank(rank):
    """The float32 of a number, uint32, of which greater ones have greater float32."""
    negative = rank < 2147483648
    return tl.where(negative, ~rank, rank ^ 2147483648).to(tl.float32, bitcast=True)


@triton.jit
def _rank_of(value):
    """The inverse of ``_of_rank``."""
    bits = value.to(tl.uint32, bitcast=True)
    return tl.where(bits < 2147483648, bits ^ 2147483648, ~bits)


@triton.jit
def _within(values, size, BLOCK: tl.constexpr):
    """How many values of a line are above -inf, the least of them, and the greatest."""
    offsets = tl.arange(0, BLOCK)
    opened, highest = tl.zeros([BLOCK], tl.int32), tl.full([BLOCK], float("-inf"), tl.float32)
    lowest = tl.full([BLOCK], float("inf"), tl.float32)
    for start in range(0, size, BLOCK):
        here = start + offsets < size
        value = tl.load(values + start + offsets, mask=here, other=float("-inf"))
        above = value > float("-inf")
        opened += above.to(tl.int32)
        highest = tl.maximum(highest, value)
        lowest = tl.minimum(lowest, tl.where(above, value, float("inf")))
    return tl.sum(opened), tl.min(lowest, 0), tl.max(highest, 0)


@triton.jit
def _reaching(values, size, first, second, third, BLOCK: tl.constexpr):
    """How many values of a line are at least as great as each of three, the least of them first."""
    offsets = tl.arange(0, BLOCK)
    # Three counts of up to 1023 blocks in one number, which takes a third of the registers.
    together = tl.zeros([BLOCK], tl.int32)
    for start in range(0, size, BLOCK):
        here = start + offsets < size
        value = tl.load(values + start + offsets, mask=here, other=float("-inf"))
        reached = tl.where(value >= second, 1 + 1024, 1)
        reached = tl.where(value >= third, 1 + 1024 + 1048576, reached)
        together += tl.where(value >= first, reached, 0)
    over_first, over_second = together & 1023, (together >> 10) & 1023
    return tl.sum(over_first), tl.sum(over_second), tl.sum(together >> 20)


_CHANGING = ["size", "most", "number", "value_row", "value_head", "value_line"]
"""What may be another number at each step: nothing is compiled anew for it."""


@triton.jit(do_not_specialize=_CHANGING)
def _select(
    values,
    counts,
    chosen_ones,
    found,
    size,
    most,
    number,
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
    open_places, least, greatest = _within(values, size, BLOCK)
    count = tl.minimum(wanted, open_places)

    # At least ``count`` values reach ``low`` and fewer reach ``high``: the ranks between them are
    # cut into four until exactly so many reach ``low``, or until only equal ones are left.
    low, high = _rank_of(least), _rank_of(greatest) + 1
    reach_low, reach_high = open_places, open_places * 0
    while (count > 0) & (reach_low != count) & (high - low > 1):
        step = tl.maximum((high - low) >> 2, 1)
        first, second = low + step, tl.minimum(low + 2 * step, high - 1)
        third = tl.minimum(low + 3 * step, high - 1)
        over_first, over_second, over_third = _reaching(
            values, size, _of_rank(first), _of_rank(second), _of_rank(third), BLOCK
        )
        if over_third >= count:
            low, reach_low = third, over_third
        elif over_second >= count:
            low, reach_low, high, reach_high = second, over_second, third, over_third
        elif over_first >= count:
            low, reach_low, high, reach_high = first, over_first, second, over_second
        else:
            high, reach_high = first, over_first
    least = _of_rank(low)

    # Where too many equal the last one that is taken, the first of them are.
    left = count - reach_high
    taken, ties = 0, 0
    for start in range(0, size, BLOCK):
        here = start + offsets < size
        value = tl.load(values + start + offsets, mask=here, other=float("-inf"))
        chosen = (here & (value >= least) & (count > 0)).to(tl.int32)
        if reach_low != count:
            tied = (here & (value == least)).to(tl.int32)
            order = ties + tl.cumsum(tied, 0)
            ties += tl.sum(tied)
            chosen = tl.where((tied > 0) & (order > left), 0, chosen)
        if MARKED:
            tl.store(chosen_ones + start + offsets, chosen.to(tl.uint8), mask=here)
        else:
            target = taken + tl.cumsum(chosen, 0) - 1
            places = (number + start + offsets).to(tl.int64)
            tl.store(chosen_ones + target, places, mask=chosen > 0)
            taken += tl.sum(chosen)
    if not MARKED:
        for start in range(0, most, BLOCK):
            padding = (start + offsets >= count) & (start + offsets < most)
            somewhere = tl.full([BLOCK], 0, tl.int64) + number
            tl.store(chosen_ones + start + offsets, somewhere, mask=padding)
        tl.store(found + number_of_line, count.to(tl.int64))


def heaviest(values: Tensor, counts: Tensor, most: int, first: int = 0) -> tuple[Tensor, Tensor]:
    """See ``numerics.heaviest``, with counts on the device; places are in rising order."""
    lines = max(values.shape[0], counts.shape[0]), *values.shape[1:-1]
    places = torch.empty(*lines, most, dtype=torch.int64, device=values.device)
    found = torch.empty(*lines, 1, dtype=torch.int64, device=values.device)
    _run_select(values.expand(*lines, -1), counts.expand(*lines, 1), places, found, first)
    return places, found


def largest(values: Tensor, counts: Tensor) -> Tensor:
    """See ``heaviest.largest``, with counts on the device."""
    marked = torch.empty(values.shape, dtype=torch.uint8, device=values.device)
    _run_select(values, counts.expand(*values.shape[:-1], 1), marked)
    return marked.view(torch.bool)


def _run_select(
    values: Tensor, counts: Tensor, chosen: Tensor, found: Tensor | None = None, first: int = 0
) -> None:
    """Fill ``chosen`` with places of each line, or without ``found`` with marks of all values."""
    if not chosen.numel() and found is None:
        return
    values, counts = _as_lines(values), _as_lines(counts)
    rows, heads, inner, size = values.shape
    values = values if values.stride(-1) == 1 else values.contiguous()
    block = 2 * _BLOCK if size >= _LONG else _BLOCK
    _select[rows, heads * inner](
        values,
        counts,
        chosen,
        chosen if found is None else found,
        size,
        chosen.shape[-1],
        first,
        heads,
        inner,
        *values.stride()[:3],
        *counts.stride()[:3],
        MARKED=found is None,
        BLOCK=block,
        num_warps=max(1, block // _PER_WARP),
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
            marked,
            places,
            mask.shape[-1],
            most,
            BLOCK=2 * _BLOCK,
            num_warps=max(1, 2 * _BLOCK // _PER_WARP),
        )
    return places
