"""Attention that reads the listed keys one by one, of queries that see every key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.scores import sink_share
from sparse_attention.attention.single_keys import Lines, tail_dots
from sparse_attention.numerics.products import product
from sparse_attention.numerics.tensors import soft_cap

if TYPE_CHECKING:
    from torch import Tensor


def listed_attention(call: AttentionCall, compact: Compact, sink_logits: Tensor | None) -> Tensor:
    """Attention over a compact selection; of the context it touches only what is read.

    Spans, which all rows and heads read, are read where they lie, and all of the tails, which are
    short, is multiplied.  Only the vectors of the other keys are collected.

    Returns:
        (R, H, G, 1, Dv) float32.
    """
    rows, heads, group, _, width = call.queries.shape
    keys, values = call.view.segment.keys, call.view.segment.values
    context = keys.shape[1]
    spans = [slice(start, min(end, context)) for start, end in compact.spans if start < context]
    bar = _tail_bar(compact, context)
    listed, lines = compact.indices, None
    if listed is not None and context and listed.keys.shape[-1]:
        # Of the tails may also be what is only padding.
        anywhere = bar is not None or listed.counts is not None
        numbers = listed.keys.clamp(max=context - 1) if anywhere else listed.keys
        lines = Lines(call.shape, numbers)
    scores = call.known_scores
    if scores is None:
        asked = call.queries.transpose(0, 1).reshape(heads, rows * group, width).to(keys.dtype)
        dots = [product(asked, keys[:, span].mT) for span in spans]
        parts = [dot.view(heads, rows, group, 1, -1).transpose(0, 1) for dot in dots]
        if lines is not None:
            parts.append(lines.dots(call.queries, keys))
        parts.append(tail_dots(call.queries, call.view))
        logits = soft_cap(torch.cat(parts, -1).mul_(call.scaling), call.softcap)
    else:
        parts = [scores[..., span] for span in spans]
        if lines is not None:
            parts.append(scores.gather(-1, lines.keys.expand(*call.shape[:4], -1)))
        logits = torch.cat([*parts, scores[..., context:]], -1)
    tail = slice(logits.shape[-1] - call.view.tail_keys.shape[2], None)
    chosen = slice(sum(span.stop - span.start for span in spans), tail.start)
    if listed is not None and lines is not None:
        _weigh_listed(logits[..., chosen], listed, None if bar is None else context)
    if bar is not None:
        logits[..., tail] += bar

    weights = logits.softmax(-1)
    own = weights[..., tail].reshape(rows * heads, group, -1)
    output = product(own, call.view.tail_values.flatten(0, 1)).view(rows, heads, group, 1, -1)
    if spans:
        shared, first = weights.transpose(0, 1)[..., : chosen.start], 0
        shared = shared.reshape(heads, rows * group, chosen.start)
        for span in spans:
            end = first + span.stop - span.start
            part = product(shared[..., first:end], values[:, span])
            output += part.view(heads, rows, group, 1, -1).transpose(0, 1)
            first = end
    if lines is not None:
        output += lines.weigh(weights[..., chosen], values)
    return output if sink_logits is None else output * sink_share(logits, sink_logits)


def _weigh_listed(logits: Tensor, listed: Indices, context: int | None) -> None:
    """Add log-weights to ``logits`` (R, H, G, 1, n) of listed keys; -inf from ``context`` on."""
    if listed.weights is not None:
        logits += listed.weights
    if listed.valid is not None:
        logits.masked_fill_(~listed.valid, -torch.inf)
    if context is not None:
        logits.masked_fill_(listed.keys >= context, -torch.inf)


def _tail_bar(compact: Compact, context: int) -> Tensor | None:
    """Log-weights of the tail's keys, float32 (R, H, G, 1, t); None where all are 0."""
    tail = compact.length - context
    covered = any(start <= context and end == compact.length for start, end in compact.spans)
    if covered or not tail:
        return None
    bar = torch.full((*compact.lines, tail + 1), -torch.inf, device=compact.device)
    if compact.indices is not None:
        log_weights = compact.indices.log_weights
        if log_weights is None:
            log_weights = torch.zeros_like(compact.indices.keys, dtype=torch.float32)
        # One column more takes the keys of the context; padding adds -inf wherever it points to.
        places = compact.indices.keys - context
        places = torch.where((places < 0) | (log_weights == -torch.inf), tail, places)
        bar.scatter_(-1, places, log_weights)
    for start, end in compact.spans:
        if end > context:
            bar[..., max(0, start - context) : end - context] = 0
    return bar[..., :tail]
