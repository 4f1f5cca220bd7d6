"""Attention over selections beside dense attention of the same queries, on a processor.

Where both are wanted, because one is compared with the other, the dense weights are there: those
over a selection are these times the selection's, divided by their sum.  Values are read once for
both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.scores import SharedScores, sink_share
from sparse_attention.attention.selection import Selection
from sparse_attention.numerics.products import product
from sparse_attention.numerics.tensors import as_numbers

if TYPE_CHECKING:
    from torch import Tensor

_LEAST = 1e-25
"""Dense weight of all keys of a selection from which on the weights of single keys have all their
digits: those that float32 cannot hold are together less than its rounding."""
_ROOM = 1 << 24
"""The most weights over selections that are held at a time."""


def room_beside_dense(rows: int, queries: Tensor, keys: int) -> int:
    """How much room ``SharedScores`` of queries (R, H, G, Q, D) get for so many rows."""
    if queries.is_cuda or queries.shape[3] > 1:  # of many queries the products take the time
        return 0
    return rows if rows * queries[0, ..., 0].numel() * keys <= _ROOM else 0


def attend_beside_dense(
    shared: SharedScores, chosen: Sequence[tuple[Sequence[int], Selection]]
) -> tuple[Tensor, Tensor | None]:
    """Dense attention of all rows, and attention of some over selections.

    Args:
        shared: scores with room for the latter.
        chosen: neighbouring rows and what they read.

    Returns:
        Both, (R, H, G, Q, Dv), of the chosen rows in their order; None where a selection has too
        little of the dense weight.
    """
    sinks, values = shared.settings.sink_logits, shared.view.segment.values
    rows, order = shared.queries.shape[0], [row for rows, _ in chosen for row in rows]
    weights = shared.with_room[: rows + len(order)]
    place = rows
    for own, selection in chosen:
        out = weights[place : place + len(own)]
        _weigh_selection(weights[own[0] : own[-1] + 1], selection, out)
        place += len(own)
    sums = weights[rows:].sum(-1, keepdim=True)
    output = _weigh_values(weights, values, shared.view.tail_values, order)
    dense, sparse = output[:rows], output[rows:]
    enough = not order or float(sums.amin()) > _LEAST
    if sinks is None:
        return dense, sparse / sums if enough else None
    share = sink_share(shared.scores(range(rows)), sinks)
    if not enough:
        return dense * share, None
    # The odds of the keys against the sink are those of all keys times their dense weight.
    odds = torch.logit(share)[order] + sums.log()
    return dense * share, sparse / sums * torch.sigmoid(odds)


def _weigh_selection(weights: Tensor, selection: Selection, out: Tensor) -> None:
    """Write dense ``weights`` times those of a selection to ``out``, all (R, H, G, Q, K)."""
    compact = selection.compact
    if compact is None:
        marks, log_weights = selection.reads, selection.weights
        factors = (
            as_numbers(marks) if log_weights is None else as_numbers(marks) * log_weights.exp()
        )
        torch.mul(weights, factors, out=out)
        return
    out.zero_()
    if compact.indices is not None:
        keys, log_weights = compact.indices.without_padding()
        read = weights.gather(-1, keys.expand(*weights.shape[:-1], -1))
        if log_weights is not None:
            read *= log_weights.exp()
        out.scatter_(-1, keys.expand(read.shape), read)
    for start, end in compact.spans:
        out[..., start:end] = weights[..., start:end]


def _weigh_values(
    weights: Tensor, context_values: Tensor, tail_values: Tensor, order: Sequence[int]
) -> Tensor:
    """``weights @ values`` of all rows and then once more of those in ``order``."""
    count, heads, group, queries, keys = weights.shape
    context, width = context_values.shape[1:]
    flat = weights.transpose(0, 1)[..., :context].reshape(heads, count * group * queries, context)
    output = product(flat, context_values).view(heads, count, group, queries, width).transpose(0, 1)
    neighbours = order == list(range(order[0], order[-1] + 1)) if order else False
    of_order = tail_values[order[0] : order[-1] + 1] if neighbours else tail_values[order]
    first = 0
    for tails in (tail_values, of_order):
        own = slice(first, first + tails.shape[0])
        of_tail = weights[own, ..., context:].reshape(-1, group * queries, keys - context)
        output[own] += product(of_tail, tails.flatten(0, 1)).view_as(output[own])
        first = own.stop
    return output
