"""Attention of one token of each row over a selection, as kernels for a GPU.

Keys and values are read where they lie, once for all query heads that share a list.  A list is cut
into parts, so that few rows keep a whole GPU busy; a second kernel merges the parts by their
log-sum-exp.  Importing this needs Triton; ``fused`` decides whether that is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

if TYPE_CHECKING:
    from torch import Tensor

# The fastest of 27 settings on an H200, in perf/gpu_decode.py.
_BLOCK = 32
"""Keys that a program reads at a time."""
_WIDE_BLOCK = 16
"""The same where a key and its value have more than ``_WIDE`` bytes, so that they have room."""
_WIDE = 1024
_WARPS = 4
_STAGES = 5
"""For two blocks of keys and values under way: their numbers have to be there before."""
_PROGRAMS = 3
"""Programs of a multiprocessor that run at once; lists are cut for no more of them."""
_LEAST = 64
"""Keys of a part, unless the list has fewer; for less, merging costs more than reading."""
_MOST_PARTS = 128
_EARLY_SINCE = 9
_MERGED = 64
"""Parts that are merged at a time, at most."""


_CHANGING = [
    *("context", "parts", "listed", "first", "first_end", "second", "second_end"),
    *("index_row", "index_head", "index_list", "weight_row", "weight_head", "weight_list"),
]
"""What may be another number at each step: nothing is compiled anew for it."""


@triton.jit(do_not_specialize=_CHANGING)
def _attend_part(
    queries,
    keys,
    values,
    tail_keys,
    tail_values,
    index,
    counts,
    log_weights,
    outputs,
    scaling,
    cap,
    heads,
    context,
    parts,
    listed,
    first,
    first_end,
    second,
    second_end,
    query_row,
    query_head,
    query_group,
    key_row,
    key_head,
    key_place,
    value_row,
    value_head,
    value_place,
    tail_key_row,
    tail_key_head,
    tail_key_place,
    tail_value_row,
    tail_value_head,
    tail_value_place,
    index_row,
    index_head,
    index_list,
    weight_row,
    weight_head,
    weight_list,
    count_row,
    count_head,
    count_list,
    LISTS: tl.constexpr,
    MEMBERS: tl.constexpr,
    WIDTH: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    CAPPED: tl.constexpr,
    LISTED: tl.constexpr,
    COUNTED: tl.constexpr,
    WEIGHTED: tl.constexpr,
    EXACT: tl.constexpr,
    ALIGNED: tl.constexpr,
    MEMBERS_BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    VALUE_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
    EARLY: tl.constexpr,
):
    if EARLY:
        gdc_launch_dependents()
    line, part = tl.program_id(0), tl.program_id(1)
    row, head, own = line // (heads * LISTS), line // LISTS % heads, line % LISTS
    row, head, own = row.to(tl.int64), head.to(tl.int64), own.to(tl.int64)
    first_size, spanned = first_end - first, first_end - first + second_end - second
    count = spanned + listed
    if COUNTED:
        counted = tl.load(counts + row * count_row + head * count_head + own * count_list)
        count = spanned + counted.to(tl.int32)
    share = tl.cdiv(tl.cdiv(count, parts), 16) * 16
    begin, end = part * share, tl.minimum(part * share + share, count)
    index += row * index_row + head * index_head + own * index_list
    log_weights += row * weight_row + head * weight_head + own * weight_list
    keys += row * key_row + head * key_head
    values += row * value_row + head * value_head
    tail_keys += row * tail_key_row + head * tail_key_head
    tail_values += row * tail_value_row + head * tail_value_head

    members, widths = tl.arange(0, MEMBERS_BLOCK), tl.arange(0, WIDTH_BLOCK)
    value_widths = tl.arange(0, VALUE_BLOCK)
    queries += row * query_row + head * query_head + own * query_group
    query = tl.load(
        queries + members[:, None] * query_group + widths[None, :],
        mask=(members < MEMBERS)[:, None] & (widths < WIDTH)[None, :],
        other=0.0,
    )
    greatest = tl.full([MEMBERS_BLOCK], float("-inf"), tl.float32)
    total = tl.zeros([MEMBERS_BLOCK], tl.float32)
    output = tl.zeros([MEMBERS_BLOCK, VALUE_BLOCK], tl.float32)
    for start in range(begin, end, BLOCK):
        places = start + tl.arange(0, BLOCK)
        there = places < end
        at = tl.where(places < first_size, first + places, second - first_size + places)
        in_list = there & (places >= spanned)
        if LISTED:
            numbers = tl.load(index + places - spanned, mask=in_list, other=0).to(tl.int32)
            at = tl.where(in_list, numbers, at)
        at = at.to(tl.int64)
        in_tail, after = at >= context, at - context
        key_lines = tl.where(in_tail, tail_keys + after * tail_key_place, keys + at * key_place)
        value_lines = tl.where(
            in_tail, tail_values + after * tail_value_place, values + at * value_place
        )
        if ALIGNED:
            key_lines = tl.multiple_of(key_lines, 16)
            value_lines = tl.multiple_of(value_lines, 16)
        key = tl.load(
            key_lines[:, None] + widths[None, :],
            mask=there[:, None] & (widths < WIDTH)[None, :],
            other=0.0,
        )
        value = tl.load(
            value_lines[:, None] + value_widths[None, :],
            mask=there[:, None] & (value_widths < VALUE_WIDTH)[None, :],
            other=0.0,
        )
        if EXACT:
            logits = tl.dot(query, tl.trans(key), input_precision="ieee") * scaling
        else:
            logits = tl.dot(query, tl.trans(key)) * scaling
        if CAPPED:
            logits = cap * (2 * tl.sigmoid(2 / cap * logits) - 1)
        if WEIGHTED:
            weight = tl.load(log_weights + places - spanned, mask=in_list, other=0.0)
            logits += weight[None, :]
        logits = tl.where(there[None, :], logits, float("-inf"))
        higher = tl.maximum(greatest, tl.max(logits, 1))
        kept = tl.exp(greatest - higher)
        weights = tl.exp(logits - higher[:, None])
        total = total * kept + tl.sum(weights, 1)
        output = output * kept[:, None]
        if EXACT:
            output += tl.dot(weights, value, input_precision="ieee")
        else:
            output += tl.dot(weights.to(value.dtype), value)
        greatest = higher
    lines = (line * MEMBERS + members).to(tl.int64) * parts + part
    sums = outputs + tl.num_programs(0).to(tl.int64) * MEMBERS * parts * VALUE_WIDTH
    tl.store(sums + lines, greatest + tl.log(total), mask=members < MEMBERS)
    tl.store(
        outputs + lines[:, None] * VALUE_WIDTH + value_widths[None, :],
        output / tl.where(total > 0, total, 1.0)[:, None],
        mask=(members < MEMBERS)[:, None] & (value_widths < VALUE_WIDTH)[None, :],
    )


@triton.jit(do_not_specialize=["parts"])
def _merge_parts(
    outputs,
    sinks,
    merged,
    heads,
    parts,
    SINKS: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
    EARLY: tl.constexpr,
):
    if EARLY:
        gdc_wait()
    line = tl.program_id(0).to(tl.int64)
    # The sums of all parts come after their outputs.
    sums = outputs + tl.num_programs(0).to(tl.int64) * parts * WIDTH
    widths = tl.arange(0, WIDTH_BLOCK)
    greatest, total = tl.full([], float("-inf"), tl.float32), tl.zeros([], tl.float32)
    if SINKS:
        greatest = tl.load(sinks + line % heads).to(tl.float32)
        total += 1.0
    output = tl.zeros([WIDTH_BLOCK], tl.float32)
    for start in range(0, parts, BLOCK):
        places = start + tl.arange(0, BLOCK)
        there = places < parts
        own = tl.load(sums + line * parts + places, mask=there, other=float("-inf"))
        higher = tl.maximum(greatest, tl.max(own, 0))
        # Where nothing was read so far, both are -inf, whose difference is no number.
        safe = tl.where(higher > float("-inf"), higher, 0.0)
        kept, weights = tl.exp(greatest - safe), tl.exp(own - safe)
        part = tl.load(
            outputs + (line * parts + places)[:, None] * WIDTH + widths[None, :],
            mask=there[:, None] & (widths < WIDTH)[None, :],
            other=0.0,
        )
        output = output * kept + tl.sum(part * weights[:, None], 0)
        total = total * kept + tl.sum(weights, 0)
        greatest = higher
    tl.store(
        merged + line * WIDTH + widths,
        output / tl.where(total > 0, total, 1.0),
        mask=widths < WIDTH,
    )


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    tail_keys: Tensor,
    tail_values: Tensor,
    spans: Sequence[tuple[int, int]] = (),
    index: Tensor | None = None,
    counts: Tensor | None = None,
    log_weights: Tensor | None = None,
    *,
    scaling: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention over lists of keys.

    Args:
        queries: (R, H, G, D).
        keys: (R, H, P, D), expanded where rows share them.
        values: (R, H, P, V).
        tail_keys: (R, H, t, D), the keys of each row after those.
        tail_values: (R, H, t, V).
        spans: at most two (first, end) of keys that all rows and heads read.
        index: integers (R, H, 1 or G, N), other keys, below P + t and each once; one list for all
            query heads of a key-value head, or one for each.
        counts: integers (R, H, 1 or G), how many entries of each list are read, or None for all;
            what comes after them may be anything.
        log_weights: float32, like ``index``, or None where all are 0.
        scaling: factor of the products.
        softcap: of the scores, before the log-weights.
        sinks: (H, G), logits of learned sinks.

    Returns:
        (R, H, G, V) float32; 0 where a list is empty.
    """
    rows, heads, group, width = queries.shape
    value_width = values.shape[3]
    lists, listed = (1, 0) if index is None else index.shape[2:]
    (first, first_end), (second, second_end) = (*spans, (0, 0), (0, 0))[:2]
    longest = listed + first_end - first + second_end - second
    members = group // lists
    multiprocessors, early = _facts(queries.device)
    room = _PROGRAMS * multiprocessors // (rows * heads * lists)
    parts = max(1, min(room, -(-longest // _LEAST), _MOST_PARTS))
    width_block, value_block = _power_of_2(width), _power_of_2(value_width)
    wide = (width_block + value_block) * keys.element_size() > _WIDE
    queries = queries.to(keys.dtype)
    lines = rows * heads * group
    found = queries.new_empty(lines * parts * (value_width + 1), dtype=torch.float32)
    for tensor in (queries, keys, values, tail_keys, tail_values, index, log_weights):
        if tensor is not None and tensor.stride(-1) != 1:
            assert tensor.shape[-1] <= 1, "the last dimension is contiguous"
    _attend_part[(rows * heads * lists, parts)](
        queries,
        keys,
        values,
        tail_keys,
        tail_values,
        found if index is None else index,
        found if counts is None else counts,
        found if log_weights is None else log_weights,
        found,
        scaling,
        softcap or 0.0,
        heads,
        keys.shape[2],
        parts,
        listed,
        first,
        first_end,
        second,
        second_end,
        *queries.stride()[:3],
        *keys.stride()[:3],
        *values.stride()[:3],
        *tail_keys.stride()[:3],
        *tail_values.stride()[:3],
        *_strides(index),
        *_strides(log_weights),
        *_strides(counts),
        LISTS=lists,
        MEMBERS=members,
        WIDTH=width,
        VALUE_WIDTH=value_width,
        CAPPED=softcap is not None,
        LISTED=index is not None,
        COUNTED=counts is not None,
        WEIGHTED=log_weights is not None,
        EXACT=keys.dtype == torch.float32,
        ALIGNED=all(map(_is_aligned, (keys, values, tail_keys, tail_values))),
        MEMBERS_BLOCK=_power_of_2(members),
        WIDTH_BLOCK=width_block,
        VALUE_BLOCK=value_block,
        BLOCK=_WIDE_BLOCK if wide else _BLOCK,
        EARLY=early,
        num_warps=_WARPS,
        num_stages=_STAGES,
    )
    merged = queries.new_empty(rows, heads, group, value_width, dtype=torch.float32)
    _merge_parts[(lines,)](
        found,
        found if sinks is None else sinks.contiguous(),
        merged,
        heads * group,
        parts,
        SINKS=sinks is not None,
        WIDTH=value_width,
        WIDTH_BLOCK=value_block,
        BLOCK=min(_MERGED, _power_of_2(parts)),
        EARLY=early,
        num_warps=8,
        **({"launch_pdl": True} if early else {}),
    )
    return merged


def _strides(tensor: Tensor | None) -> tuple[int, ...]:
    """Those of the dimensions (R, H, lists)."""
    return (0, 0, 0) if tensor is None else tensor.stride()[:3]


def _power_of_2(number: int) -> int:
    """The first from ``number`` on that a kernel can have in a block."""
    return max(16, 1 << (number - 1).bit_length())


def _is_aligned(tensor: Tensor) -> bool:
    """Whether all lines of the last dimension begin at multiples of 16 bytes."""
    rows, heads, places, _ = tensor.stride()
    return (tensor.data_ptr() | tensor.element_size() * (rows | heads | places)) % 16 == 0


@cache
def _facts(device: torch.device) -> tuple[int, bool]:
    """Multiprocessors, and whether a kernel may be there before the one ahead of it has ended."""
    if device.type != "cuda":
        return 1, False
    properties = torch.cuda.get_device_properties(device)
    return properties.multi_processor_count, properties.major >= _EARLY_SINCE
