"""Attention of one token of each row over a selection, as kernels for a GPU.

Keys and values are read where they lie, once for all query heads that share a list.  A list is cut
into parts, so that few rows keep a whole GPU busy; a second kernel merges the parts by their
log-sum-exp.  Importing this needs Triton; ``fused`` sees whether it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.kernels import attend_part, merge_parts

if TYPE_CHECKING:
    from torch import Tensor

# The fastest of some 30 settings on an H200, for the sizes of perf/gpu_decode.py.
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
"""Compute capability from which on a kernel can be launched before the one ahead has ended."""
_MERGED = 64
"""Parts that are merged at a time, at most."""


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
    out: Tensor | None = None,
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
        out: where to write what is returned, its last dimension contiguous.

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
    attend_part[(rows * heads * lists, parts)](
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
    merged = out
    if merged is None:
        merged = queries.new_empty(rows, heads, group, value_width, dtype=torch.float32)
    merge_parts[(lines,)](
        found,
        found if sinks is None else sinks.contiguous(),
        merged,
        heads,
        group,
        parts,
        *merged.stride()[:3],
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
