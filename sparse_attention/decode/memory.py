"""Bytes that a batch of rows holds, and those that dense attention would hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sparse_attention.cache.context import Context, held_nbytes
from sparse_attention.cache.tails import Tails
from sparse_attention.decode.row import Row


def dense_nbytes(context_nbytes: int, tails: Sequence[Tails]) -> int:
    """Bytes of keys and values of one row with dense attention, which keeps all of the context."""
    return context_nbytes + sum(tail.bytes_per_token * tail.length for tail in tails)


def kept_nbytes(context: Context, tails: Sequence[Tails]) -> int:
    """Bytes of keys and values of a row that reads ``context``."""
    return context.kv_nbytes + sum(
        tail.bytes_per_token * (tail.length - layer.taken)
        for tail, layer in zip(tails, context.layers, strict=True)
    )


def batch_nbytes(context: Context, rows: Iterable[Row], tails: Iterable[Tails]) -> int:
    """Bytes held: of contexts, of tails, and what methods keep about them; shared ones once."""
    tensors = [tensor for row in rows for tensor in (*row.context.tensors, *row.tensors)]
    tensors += [tensor for tail in tails for tensor in tail.tensors]
    return held_nbytes([*tensors, *context.tensors])
