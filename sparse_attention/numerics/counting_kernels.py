"""A kernel for a GPU that counts the keys which lists name.

Importing this needs Triton.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 1024
"""Keys that a program looks at together."""
_CHANGING = [
    *("words", "listed", "key_row", "key_head", "key_list"),
    *("count_row", "count_head", "count_list"),
]
"""What may be another number at each step: nothing is compiled anew for it."""


@triton.jit(do_not_specialize=_CHANGING)
def _count_reads(
    keys,
    counts,
    seen,
    sums,
    places,
    words,
    listed,
    heads,
    group,
    kinds,
    key_row,
    key_head,
    key_list,
    count_row,
    count_head,
    count_list,
    BY_QUERY: tl.constexpr,
    COUNTED: tl.constexpr,
    UNITED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    line, own = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    row, head = line // heads, line % heads
    count = listed
    if COUNTED:
        counted = tl.load(counts + row * count_row + head * count_head + own * count_list)
        count = counted.to(tl.int32)
    place = tl.load(places + row)
    members = group // tl.num_programs(1)
    if BY_QUERY:
        tl.atomic_add(sums + place, (count * members).to(tl.int64), sem="relaxed")
    if UNITED:
        keys += row * key_row + head * key_head + own * key_list
        fresh = tl.zeros([BLOCK], tl.int32)
        for start in range(0, count, BLOCK):
            offsets = start + tl.arange(0, BLOCK)
            here = offsets < count
            key = tl.load(keys + offsets, mask=here, other=0)
            bit = tl.full([BLOCK], 1, tl.int32) << (key & 31).to(tl.int32)
            before = tl.atomic_or(seen + line * words + (key >> 5), bit, mask=here, sem="relaxed")
            fresh += (here & ((before & bit) == 0)).to(tl.int32)
        count = tl.sum(fresh) * tl.num_programs(1)
    tl.atomic_add(sums + kinds + place, (count * members).to(tl.int64), sem="relaxed")


def count_reads(
    keys: Tensor,
    counts: Tensor | None,
    length: int,
    group: int,
    sums: Tensor,
    places: Tensor,
    *,
    by_query: bool,
) -> None:
    """Add to sums of rows how many keys their query heads read.

    Args:
        keys: int64 (R, H, 1 or G, n), numbers below ``length``, each once in a list; one list for
            all G query heads of a key-value head, or one for each.
        counts: int64 (R, H, 1 or G), how many entries of each list are read, or None for all.
        length: keys that there are.
        group: G.
        sums: int64 (2, m), written to: in the first line each query head counts what it reads, in
            the second one what any head of its group reads.
        places: int64 (R,), the sums of each row.
        by_query: whether to count in the first line as well.
    """
    rows, heads, lists, listed = keys.shape
    if not keys.numel():
        return
    words = -(-length // 32)
    united = lists > 1
    seen = torch.zeros(rows * heads * words if united else 0, dtype=torch.int32, device=keys.device)
    _count_reads[rows * heads, lists](
        keys,
        keys if counts is None else counts,
        seen,
        sums,
        places,
        words,
        listed,
        heads,
        group,
        sums.stride(0),
        *keys.stride()[:3],
        *((0, 0, 0) if counts is None else counts.stride()),
        BY_QUERY=by_query,
        COUNTED=counts is not None,
        UNITED=united,
        BLOCK=_BLOCK,
        num_warps=4,
    )
