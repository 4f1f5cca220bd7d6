"""Attention over a selection: a plain reference, and the two ways in which it is computed.

``softmax(scores + log_weights) @ values`` in float32.  The masked way multiplies with all values;
the gathered way first collects the context keys that any query of a key-value head reads.  Which
one is cheaper depends on how many keys that is and on how many rows share the work; see
``gathering_pays``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.listed import listed_attention
from sparse_attention.attention.scores import sink_share, weigh_values
from sparse_attention.attention.selection import Selection
from sparse_attention.attention.single_keys import collect, in_steps
from sparse_attention.numerics.products import product
from sparse_attention.numerics.tensors import soft_cap

if TYPE_CHECKING:
    from torch import Tensor

# Cost of one key or value element in nanoseconds, measured on one CPU thread by
# perf/attention_paths.py; only their ratios matter.
_STREAM_COST = 0.5
"""To read it once, in order."""
_GATHER_COST = 1.3
"""To collect it from somewhere and to read it back."""
_MULTIPLY_COST = 0.025
"""To multiply and add it for one query head."""
_GATHER_START = 100_000
"""To gather at all, in nanoseconds."""
_SEARCH_COST = 1.5
"""To find what is read, in nanoseconds for each entry of a selection."""

_NEVER = 3e38
"""Subtracted from the logits of keys that are not read; their weights are then exactly 0."""


def reference_attention(
    queries: Tensor, keys: Tensor, values: Tensor, log_weights: Tensor, scaling: float
) -> Tensor:
    """Attention over a selection in the plainest form, to judge everything else by.

    Args:
        queries: (R, H, G, Q, D).
        keys: (R, H, K, D).
        values: (R, H, K, D).
        log_weights: broadcastable to (R, H, G, Q, K); -inf where invisible.
        scaling: factor of the products.

    Returns:
        (R, H, G, Q, D) in the dtype of ``queries``: float32, or float64 for a stricter judge.
    """
    logits = queries @ keys[:, :, None].mT * scaling + log_weights
    return logits.softmax(-1) @ values[:, :, None]


def add_selection(scores: Tensor, selection: Selection, out: Tensor) -> None:
    """Write ``scores + log_weights`` to ``out``; all broadcast to (R, H, G, Q, K)."""
    compact = selection.compact
    if compact is not None and (not _padded(compact) or not scores.is_cuda):
        out.fill_(-torch.inf)
        if compact.indices is not None:
            keys, log_weights = compact.indices.without_padding()
            read = scores.gather(-1, keys.expand(*scores.shape[:-1], -1))
            out.scatter_(
                -1, keys.expand(read.shape), read if log_weights is None else read + log_weights
            )
        for start, end in compact.spans:
            out[..., start:end] = scores[..., start:end]
    elif scores.is_cuda:
        torch.where(selection.reads, scores, scores.new_full((), -torch.inf), out=out)
        if selection.weights is not None:
            out.add_(selection.weights)
    else:
        _add_mask(scores, selection.reads, selection.weights, out)


def _padded(compact: Compact) -> bool:
    return compact.indices is not None and compact.indices.counts is not None


def _add_mask(scores: Tensor, reads: Tensor, weights: Tensor | None, out: Tensor) -> None:
    """``add_selection`` by vector instructions, which a choice does not use on a processor.

    Row by row, so that what one operation writes is still in the cache for the next.
    """
    alike, unread = reads.shape[0] == 1, None
    for row in range(scores.shape[0]):
        if unread is None or not alike:
            unread = (reads[0 if alike else row].view(torch.int8) - 1).float()
        torch.add(scores[row], unread, alpha=_NEVER, out=out[row])
        if weights is not None:
            out[row].add_(weights[0 if weights.shape[0] == 1 else row])


def context_union(selection: Selection, context: int) -> Tensor:
    """Context keys that any row, group or query reads: bool (H, P), (1, P) if all heads agree."""
    reads = selection.reads[..., :context].view(torch.uint8)
    for dimension in (3, 2, 0):
        if reads.shape[dimension] > 1:
            reads = reads.amax(dimension, keepdim=True)
    return reads[0, :, 0, 0].view(torch.bool)


def gathering_pays(call: AttentionCall, selection: Selection, sharing: int, scored: bool) -> bool:
    """Whether collecting the keys that are read is cheaper than working on the whole segment.

    Args:
        call: the attention operation.
        selection: what is read.
        sharing: rows over which one reading of the whole segment is spread.
        scored: whether the scores of all keys are there already.
    """
    rows, heads, group, queries, _ = call.shape
    of_rows, of_heads, of_group, _ = selection.lines
    compact = selection.compact
    if compact is None and rows * queries > 1 and of_heads > 1:
        return False  # many queries of different heads read most of the context together
    context = call.view.segment.keys.shape[1]
    elements = heads * call.queries.shape[-1]
    multiply = _MULTIPLY_COST * rows * group * queries
    whole = context * (_STREAM_COST * rows / sharing + multiply)
    start = float(_GATHER_START)
    if compact is None:
        start += _SEARCH_COST * selection.reads.numel()
        if of_heads > 1:
            read = min(context, int(selection.counts.sum()) / of_heads)
        else:  # neighbouring queries read much the same
            read = int(context_union(selection, context).sum())
        gathered = 2 * read * (_GATHER_COST + multiply)
    else:
        read = compact.width
        gathered = of_rows * of_group * read * _GATHER_COST + read * multiply
        gathered *= 1 if scored else 2  # keys whose scores are known are not read
    passes = 1 if scored else 2  # over values alone, or over keys and values
    return start + gathered * elements < passes * whole * elements


def gathered_attention(
    call: AttentionCall, selection: Selection, sink_logits: Tensor | None
) -> Tensor:
    """Attention over a selection that touches only the context keys that it reads.

    Returns:
        (R, H, G, Q, D) float32.
    """
    if selection.compact is not None and call.visible is None:
        return listed_attention(call, selection.compact, sink_logits)
    rows, heads, group, queries, _ = call.shape
    segment, tail, width = call.view.segment, call.view.tail_keys, call.queries.shape[-1]
    context = segment.keys.shape[1]
    index, padding = _padded_indices(context_union(selection, context))
    keys, values = (
        collect(in_steps(tensor), index[None, :, None].expand(1, heads, 1, -1)).view(
            heads, -1, tensor.shape[-1]
        )
        for tensor in (segment.keys, segment.values)
    )
    count = index.shape[1]

    flat = call.queries.transpose(0, 1).reshape(heads, rows * group * queries, width)
    dots = product(flat.to(keys.dtype), keys.mT).view(heads, rows, group, queries, count)
    own = call.queries.reshape(rows * heads, group * queries, width).to(tail.dtype)
    own = product(own, tail.reshape(rows * heads, -1, width).mT)
    own = own.view(rows, heads, group, queries, -1)
    logits = torch.cat([dots.transpose(0, 1), own], -1).mul_(call.scaling)
    soft_cap(logits, call.softcap)

    # An invisible key is never part of a selection, so that visibility needs no mask of its own.
    reads = _collect_last(selection.reads, index, context)
    reads[..., :count] &= ~padding[:, None, None]
    weights = selection.weights
    if weights is not None:
        weights = weights.expand(*weights.shape[:-1], call.shape[-1])
        weights = _collect_last(weights, index, context)
    add_selection(logits, Selection(reads, weights), out=logits)
    output = weigh_values(logits.softmax(-1), values, call.view.tail_values)
    return output if sink_logits is None else output * sink_share(logits, sink_logits)


def _padded_indices(union: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the true entries of each line of ``union`` (H, P), padded to the longest line.

    Returns:
        int64 (H, k) and bool (H, k), true where an entry is padding.
    """
    lines, columns = union.nonzero(as_tuple=True)
    if union.shape[0] == 1 and columns.shape[0]:
        return columns[None], torch.zeros_like(columns, dtype=torch.bool)[None]
    counts = union.sum(-1)
    longest = max(1, int(counts.max()))
    starts = counts.cumsum(0) - counts
    places = torch.arange(lines.shape[0], device=union.device) - starts[lines]
    index = torch.zeros(union.shape[0], longest, dtype=torch.long, device=union.device)
    index[lines, places] = columns
    padding = torch.arange(longest, device=union.device) >= counts[:, None]
    return index, padding


def _collect_last(tensor: Tensor, index: Tensor, context: int) -> Tensor:
    """Columns ``index`` (H or 1, k) of ``tensor`` (R, H or 1, G, Q, P + t), then its last t.

    All dimensions of ``tensor`` but the last may be 1.
    """
    if index.shape[0] == 1:
        chosen = tensor.index_select(-1, index[0])
    else:
        tensor = tensor.expand(-1, index.shape[0], -1, -1, -1)
        lines = index[None, :, None, None].expand(*tensor.shape[:-1], index.shape[1])
        chosen = tensor.gather(-1, lines)
    return torch.cat([chosen, tensor[..., context:]], -1)
