"""The kernels of ``triton_kernel``, which says what they are given."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

_CHANGING = [
    *("context", "parts", "listed", "first", "first_end", "second", "second_end"),
    *("index_row", "index_head", "index_list", "weight_row", "weight_head", "weight_list"),
]
"""What may be another number at each step: nothing is compiled anew for it."""


@triton.jit(do_not_specialize=_CHANGING)
def attend_part(
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
    """Attention of one list's queries over one part of it, and the log-sum-exp of the part."""
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
def merge_parts(
    outputs,
    sinks,
    merged,
    heads,
    group,
    parts,
    merged_row,
    merged_head,
    merged_group,
    SINKS: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Attention of one query from that over the parts of its list, with a learned sink."""
    if EARLY:
        gdc_wait()
    line = tl.program_id(0).to(tl.int64)
    # The sums of all parts come after their outputs.
    sums = outputs + tl.num_programs(0).to(tl.int64) * parts * WIDTH
    widths = tl.arange(0, WIDTH_BLOCK)
    greatest, total = tl.full([], float("-inf"), tl.float32), tl.zeros([], tl.float32)
    if SINKS:
        greatest = tl.load(sinks + line % (heads * group)).to(tl.float32)
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
    row, head = line // (heads * group), line // group % heads
    merged += row * merged_row + head * merged_head + line % group * merged_group
    tl.store(
        merged + widths,
        output / tl.where(total > 0, total, 1.0),
        mask=widths < WIDTH,
    )
