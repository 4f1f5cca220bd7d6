"""Attention that reads the listed keys one by one, of queries that see every key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.scores import sink_share
from sparse_attention.numerics.tensors import product, soft_cap

if TYPE_CHECKING:
    from torch import Tensor

_LONG = 1 << 15
"""Numbers of a line's vectors from which on a processor collects lines one after the other."""


def listed_attention(call: AttentionCall, compact: Compact, sink_logits: Tensor | None) -> Tensor:
    """Attention over a compact selection; of the context it touches only what is read.

    Returns:
        (R, H, G, 1, Dv) float32.
    """
    if compact.indices is None and compact.spans:
        return _spans_attention(call, compact, sink_logits)
    shape = _Lines(call.shape, compact)
    keys, values = in_steps(call.view.segment.keys), in_steps(call.view.segment.values)
    context = keys.shape[1]
    listed = compact.within(context)
    numbers, log_weights = listed.keys, listed.log_weights
    # Keys of the tail are not gathered: the tail is short, and all of it is multiplied.
    bar = _tail_bar(compact, context)
    if compact.indices is not None and (bar is not None or listed.counts is not None):
        if bar is not None:
            log_weights = (
                torch.zeros((), device=call.device) if log_weights is None else log_weights
            )
            log_weights = torch.where(numbers < context, log_weights, -torch.inf)
        numbers = numbers.clamp(max=max(0, context - 1))
    lines = shape.expanded(numbers)
    scores = call.known_scores
    if scores is None:
        asked = shape.split(call.queries).to(keys.dtype)
        dots = _multiply(asked, keys, lines, transposed=True).mul_(call.scaling)
        logits = soft_cap(dots, call.softcap)
        own = soft_cap(_tail_dots(call), call.softcap)
    else:
        logits = shape.split(scores.gather(-1, numbers.expand(*call.shape[:4], -1)))
        own = scores[..., context:]
    if log_weights is not None:
        logits += shape.expanded(log_weights).reshape(shape.count, 1, -1)
    own = own if bar is None else own + bar
    logits = torch.cat([logits, shape.split(own)], -1)
    weights = logits.softmax(-1)
    output = shape.join(_weigh(values, lines, weights[..., : lines.shape[-1]]))
    tail = call.view.tail_values
    own_weights = shape.join(weights[..., lines.shape[-1] :]).flatten(0, 1)[:, :, 0]
    output += product(own_weights, tail.flatten(0, 1)).view_as(output)
    return output if sink_logits is None else output * sink_share(shape.join(logits), sink_logits)


def _spans_attention(call: AttentionCall, compact: Compact, sink_logits: Tensor | None) -> Tensor:
    """The same where all rows and heads read the same spans, which are read where they lie."""
    rows, heads, group, _, width = call.queries.shape
    keys, values = call.view.segment.keys, call.view.segment.values
    context = keys.shape[1]
    spans = [slice(start, min(end, context)) for start, end in compact.spans if start < context]
    scores = call.known_scores
    if scores is None:
        asked = call.queries.transpose(0, 1).reshape(heads, rows * group, width).to(keys.dtype)
        dots = [product(asked, keys[:, span].mT).mul_(call.scaling) for span in spans]
        parts = [dot.view(heads, rows, group, 1, -1).transpose(0, 1) for dot in dots]
        logits = torch.cat([*parts, _tail_dots(call)], -1)
        soft_cap(logits, call.softcap)
    else:
        logits = torch.cat([scores[..., span] for span in [*spans, slice(context, None)]], -1)
    read = sum(span.stop - span.start for span in spans)
    bar = _tail_bar(compact, context)
    if bar is not None:
        logits[..., read:] += bar
    weights = logits.softmax(-1)
    tail = call.view.tail_values
    own = weights[..., read:].reshape(rows * heads, group, -1)
    output = product(own, tail.flatten(0, 1)).view(rows, heads, group, 1, -1)
    flat, first = weights.transpose(0, 1)[..., :read].reshape(heads, rows * group, read), 0
    for span in spans:
        end = first + span.stop - span.start
        part = product(flat[..., first:end], values[:, span])
        output += part.view(heads, rows, group, 1, -1).transpose(0, 1)
        first = end
    return output if sink_logits is None else output * sink_share(logits, sink_logits)


class _Lines:
    """How queries of rows and groups come together where they read the same keys."""

    def __init__(self, shape: tuple[int, ...], compact: Compact) -> None:
        rows, heads, group = shape[:3]
        of_rows, _, of_group, _ = compact.lines
        self._together = (of_rows, heads, of_group)
        self._split = (of_rows, rows // of_rows, heads, of_group, group // of_group)
        self.count = of_rows * heads * of_group
        """Lines of keys, one for each row, key-value head and query head that differ."""

    def expanded(self, tensor: Tensor) -> Tensor:
        """(R or 1, H or 1, G or 1, 1, n) for each line: (rows, H, groups, n)."""
        return tensor[:, :, :, 0].expand(*self._together, -1)

    def split(self, tensor: Tensor) -> Tensor:
        """(R, H, G, 1, n) as (lines, queries of a line, n)."""
        width = tensor.shape[-1]
        parts = tensor.reshape(*self._split, width).permute(0, 2, 3, 1, 4, 5)
        return parts.reshape(self.count, -1, width)

    def join(self, tensor: Tensor) -> Tensor:
        """The inverse of ``split``."""
        rows, shared, heads, group, width = self._split
        parts = tensor.reshape(rows, heads, group, shared, width, -1).permute(0, 3, 1, 2, 4, 5)
        return parts.reshape(rows * shared, heads, group * width, 1, tensor.shape[-1])


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


def _tail_dots(call: AttentionCall) -> Tensor:
    """Scaled products of the queries with the tails: float32 (R, H, G, 1, t)."""
    tail = call.view.tail_keys
    asked = call.queries.flatten(0, 1)[:, :, 0].to(tail.dtype)
    dots = product(asked, tail.flatten(0, 1).mT).mul_(call.scaling)
    return dots.view(*call.shape[:4], -1)


def in_steps(tensor: Tensor) -> Tensor:
    """(H, P, D) so that the vectors of all heads lie at multiples of one step in memory."""
    if tensor.stride(2) == 1 and tensor.stride(1) and tensor.stride(0) % tensor.stride(1) == 0:
        return tensor
    return tensor.contiguous()


def _places(tensor: Tensor, lines: Tensor) -> Tensor:
    """Keys ``lines`` (rows, H, groups, n) of all heads of ``tensor`` (H, P, D) in ``_flat``."""
    step = tensor.stride(0) // tensor.stride(1)
    heads = torch.arange(tensor.shape[0], device=tensor.device) * step
    return (lines + heads[:, None, None]).reshape(-1)


def _flat(tensor: Tensor) -> Tensor:
    """The vectors of (H, P, D) with what lies between them, (n, D), without a copy."""
    heads, count, width = tensor.shape
    step = tensor.stride(0) // tensor.stride(1)
    return tensor.as_strided(((heads - 1) * step + count, width), (tensor.stride(1), 1))


def collect(tensor: Tensor, lines: Tensor) -> Tensor:
    """Vectors ``lines`` (rows, H, groups, n) of a tensor (H, P, D) ``in_steps``: (all lines, D)."""
    return _flat(tensor).index_select(0, _places(tensor, lines))


def _weigh(values: Tensor, lines: Tensor, weights: Tensor) -> Tensor:
    """``weights`` (lines, m, n) times the values of the keys ``lines``: float32 (lines, m, Dv)."""
    count, asking, listed = weights.shape
    # Weighs while it collects; of a view it would copy everything first.
    fused = values.dtype == torch.float32 and not values.is_cuda and _flat(values).is_contiguous()
    if fused and asking == 1 and listed:
        starts = torch.arange(0, count * listed, listed)
        return torch.nn.functional.embedding_bag(
            _places(values, lines),
            _flat(values),
            starts,
            mode="sum",
            per_sample_weights=weights.reshape(-1),
        )[:, None]
    return _multiply(weights.to(values.dtype) if values.is_cuda else weights, values, lines)


def _multiply(left: Tensor, tensor: Tensor, lines: Tensor, transposed: bool = False) -> Tensor:
    """``left`` (lines, m, ...) times the vectors ``lines``, or their transpose: float32."""
    count, listed = left.shape[0], lines.shape[-1]
    if tensor.is_cuda or not listed * tensor.shape[-1] >= _LONG:
        chosen = collect(tensor, lines).view(count, listed, tensor.shape[-1])
        return product(left, chosen.mT if transposed else chosen)
    # One line after the other, whose vectors stay in the processor's cache until they are used.
    room, flat = tensor.new_empty(listed, tensor.shape[-1]), _flat(tensor)
    places = _places(tensor, lines).view(count, listed)
    left = left.float()
    result = left.new_empty(count, left.shape[1], listed if transposed else tensor.shape[-1])
    for line in range(count):
        torch.index_select(flat, 0, places[line], out=room)
        vectors = room.float()
        torch.mm(left[line], vectors.T if transposed else vectors, out=result[line])
    return result
