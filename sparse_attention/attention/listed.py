"""Attention that reads the listed keys one by one, of queries that see every key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import embedding_bag

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.scores import sink_share
from sparse_attention.numerics.tensors import product, soft_cap

if TYPE_CHECKING:
    from torch import Tensor

_ROOM = 1 << 20
"""Numbers that a processor collects at a time: what its cache keeps until they are used."""


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
    listed = compact.indices if context else None
    lines = None
    if listed is not None and listed.keys.shape[-1]:
        lines = _Lines(call.shape, listed, context, bar is not None)
    scores = call.known_scores
    if scores is None:
        asked = call.queries.transpose(0, 1).reshape(heads, rows * group, width).to(keys.dtype)
        dots = [product(asked, keys[:, span].mT) for span in spans]
        parts = [dot.view(heads, rows, group, 1, -1).transpose(0, 1) for dot in dots]
        if lines is not None:
            parts.append(lines.dots(call.queries, keys))
        parts.append(_tail_dots(call))
        logits = soft_cap(torch.cat(parts, -1).mul_(call.scaling), call.softcap)
    else:
        parts = [scores[..., span] for span in spans]
        if lines is not None:
            parts.append(scores.gather(-1, lines.keys.expand(*call.shape[:4], -1)))
        logits = torch.cat([*parts, scores[..., context:]], -1)
    tail = slice(logits.shape[-1] - call.view.tail_keys.shape[2], None)
    chosen = slice(sum(span.stop - span.start for span in spans), tail.start)
    if lines is not None and lines.log_weights is not None:
        logits[..., chosen] += lines.log_weights
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


class _Lines:
    """Keys of the context that are read one by one, of each line of keys that differs."""

    def __init__(
        self, shape: tuple[int, ...], listed: Indices, context: int, of_tails: bool
    ) -> None:
        """``of_tails`` is whether keys of the tails may be among them."""
        rows, heads, group = shape[:3]
        of_rows, _, of_group, _, count = listed.keys.shape
        self.keys, self.log_weights = listed.keys, listed.log_weights
        """int64 and float32, both (R, H, G, 1, n) with ones where all are the same."""
        if of_tails:
            weights = self.log_weights
            weights = torch.zeros((), device=self.keys.device) if weights is None else weights
            self.log_weights = torch.where(self.keys < context, weights, -torch.inf)
        if of_tails or listed.counts is not None:  # padding may be of the tails, too
            self.keys = self.keys.clamp(max=context - 1)
        self._numbers = self.keys[:, :, :, 0].expand(of_rows, heads, of_group, count)
        self._split = (of_rows, rows // of_rows, heads, of_group, group // of_group)
        self._lines = of_rows * heads * of_group
        self._alone = self._lines == rows * heads * group
        self._places: dict[int, Tensor] = {}

    def dots(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Products of the queries (R, H, G, 1, D) with the keys: float32 (R, H, G, 1, n)."""
        keys = in_steps(keys)
        asked = self._together(queries).to(keys.dtype)
        return self._apart(_multiply(asked, _flat(keys), self._places_in(keys), transposed=True))

    def weigh(self, weights: Tensor, values: Tensor) -> Tensor:
        """``weights`` (R, H, G, 1, n) times the values: float32 (R, H, G, 1, Dv)."""
        values = in_steps(values)
        return self._apart(_weigh(_flat(values), self._places_in(values), self._together(weights)))

    def _places_in(self, tensor: Tensor) -> Tensor:
        """Where the vectors of the keys are in ``_flat``: int64 (lines * n,)."""
        step = _step(tensor)
        if step not in self._places:
            self._places[step] = _places(self._numbers, step)
        return self._places[step]

    def _together(self, tensor: Tensor) -> Tensor:
        """(R, H, G, 1, n) as (lines, queries of a line, n)."""
        width = tensor.shape[-1]
        if self._alone:
            return tensor.reshape(self._lines, 1, width)
        parts = tensor.reshape(*self._split, width).permute(0, 2, 3, 1, 4, 5)
        return parts.reshape(self._lines, -1, width)

    def _apart(self, tensor: Tensor) -> Tensor:
        """The inverse of ``_together``."""
        rows, shared, heads, group, width = self._split
        if self._alone:
            return tensor.view(rows, heads, group, 1, -1)
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
    """Products of the queries with the tails: float32 (R, H, G, 1, t)."""
    tail = call.view.tail_keys
    asked = call.queries.flatten(0, 1)[:, :, 0].to(tail.dtype)
    dots = product(asked, tail.flatten(0, 1).mT)
    return dots.view(*call.shape[:4], -1)


def in_steps(tensor: Tensor) -> Tensor:
    """(H, P, D) so that the vectors of all heads lie at multiples of one step in memory."""
    if tensor.stride(2) == 1 and tensor.stride(1) and tensor.stride(0) % tensor.stride(1) == 0:
        return tensor
    return tensor.contiguous()


def _step(tensor: Tensor) -> int:
    """Vectors from one head of (H, P, D) ``in_steps`` to the next one."""
    return tensor.stride(0) // tensor.stride(1)


def _flat(tensor: Tensor) -> Tensor:
    """The vectors of (H, P, D) with what lies between them, (n, D), without a copy."""
    heads, count, width = tensor.shape
    return tensor.as_strided(((heads - 1) * _step(tensor) + count, width), (tensor.stride(1), 1))


def _places(lines: Tensor, step: int) -> Tensor:
    """Keys ``lines`` (rows, H, groups, n) of heads that lie so many vectors apart: (all lines,)."""
    heads = torch.arange(0, lines.shape[1] * step, step, device=lines.device)
    return (lines + heads.view(-1, 1, 1)).reshape(-1)


def collect(tensor: Tensor, lines: Tensor) -> Tensor:
    """Vectors ``lines`` (rows, H, groups, n) of a tensor (H, P, D) ``in_steps``: (all lines, D)."""
    return _collect(_flat(tensor), _places(lines, _step(tensor)))


def _collect(flat: Tensor, places: Tensor) -> Tensor:
    if _summable(flat) and places.numel():
        # Sums of one vector each: what sums them asks the memory for the next ones meanwhile.
        return embedding_bag(places, flat, torch.arange(places.shape[0]), mode="sum")
    return flat.index_select(0, places)


def _summable(flat: Tensor) -> bool:
    """Whether sums of its vectors are fast; of a view everything would be copied first."""
    return flat.dtype == torch.float32 and not flat.is_cuda and flat.is_contiguous()


def _weigh(flat: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """``weights`` (lines, m, n) times the vectors at ``places`` (lines * n,): (lines, m, D)."""
    lines, asking, listed = weights.shape
    if _summable(flat) and asking == 1:  # weighed while they are collected
        starts, factors = torch.arange(0, lines * listed, listed), weights.reshape(-1)
        return embedding_bag(places, flat, starts, mode="sum", per_sample_weights=factors)[:, None]
    return _multiply(weights.to(flat.dtype) if flat.is_cuda else weights, flat, places)


def _multiply(left: Tensor, flat: Tensor, places: Tensor, transposed: bool = False) -> Tensor:
    """``left`` (lines, m, ...) times the vectors at ``places``, or their transpose: float32."""
    lines, width = left.shape[0], flat.shape[1]
    listed = places.shape[0] // lines
    some = lines if flat.is_cuda else max(1, _ROOM // (listed * width))
    parts = []
    for asked, own in zip(left.split(some), places.split(some * listed), strict=True):
        vectors = _collect(flat, own).view(-1, listed, width)
        parts.append(product(asked, vectors.mT if transposed else vectors))
    return torch.cat(parts) if len(parts) > 1 else parts[0]
