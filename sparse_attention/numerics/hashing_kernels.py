"""Kernels for a GPU that make codes of vectors and mark the keys whose codes meet a query's.

Importing this needs Triton.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl

if TYPE_CHECKING:
    from torch import Tensor

_PACKED = 128
"""Codes of a table that a program makes."""
_MET = 1024
"""Keys of a program that counts meetings."""
_ASKING = 4
"""Queries of such a program."""


@triton.jit(do_not_specialize=["vectors", "length"])
def _pack_signs(products, codes, vectors, length, tables, BITS: tl.constexpr, BLOCK: tl.constexpr):
    table = tl.program_id(0).to(tl.int64)
    vector = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = vector < vectors
    code = tl.zeros([BLOCK], codes.dtype.element_ty)
    for bit in tl.static_range(BITS):
        product = tl.load(products + (bit * tables + table) * vectors + vector, mask=there)
        code |= (product >= 0).to(code.dtype) << bit
    line = (vector // length).to(tl.int64)
    tl.store(codes + (line * tables + table) * length + vector % length, code, mask=there)


def pack_signs(products: Tensor, codes: Tensor) -> None:
    """Write to bit k of a code whether a product is not negative.

    Args:
        products: float32 (K, L, n * m), contiguous, for n lines of m vectors.
        codes: integers (n, L, m), contiguous; written to.
    """
    bits, tables, vectors = products.shape
    if codes.numel():
        _pack_signs[tables, triton.cdiv(vectors, _PACKED)](
            products, codes, vectors, codes.shape[-1], tables, BITS=bits, BLOCK=_PACKED, num_warps=4
        )


_CHANGING = [
    *("queries", "keys", "code_row", "code_head", "code_table"),
    *("marked_row", "marked_head", "marked_query"),
]
"""What may be another number at each step: nothing is compiled anew for it."""


@triton.jit(do_not_specialize=_CHANGING)
def _mark_meetings(
    asked,
    codes,
    marked,
    limits,
    heads,
    queries,
    keys,
    least,
    asked_row,
    asked_head,
    asked_table,
    asked_query,
    code_row,
    code_head,
    code_table,
    marked_row,
    marked_head,
    marked_query,
    QUERIES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    line, part = tl.program_id(0), tl.program_id(1)
    row, head = (line // heads).to(tl.int64), (line % heads).to(tl.int64)
    query = tl.program_id(2) * QUERIES + tl.arange(0, QUERIES)
    key = part * BLOCK + tl.arange(0, BLOCK)
    asked += row * asked_row + head * asked_head + query * asked_query
    codes += row * code_row + head * code_head + key
    mask, tables = tl.load(limits + 2 * row), tl.load(limits + 2 * row + 1)
    met = tl.zeros([QUERIES, BLOCK], tl.int32)
    for _ in range(tables.to(tl.int32)):
        own = tl.load(asked, mask=query < queries, other=0)
        theirs = tl.load(codes, mask=key < keys, other=0)
        own, theirs = own & mask.to(own.dtype), theirs & mask.to(theirs.dtype)
        met += (own[:, None] == theirs[None, :]).to(tl.int32)
        asked += asked_table
        codes += code_table
    target = marked + row * marked_row + head * marked_head
    target += query[:, None].to(tl.int64) * marked_query + key[None, :]
    inside = (query < queries)[:, None] & (key < keys)[None, :]
    tl.store(target, (met >= least).to(tl.uint8), mask=inside)


def mark_meetings(asked: Tensor, codes: Tensor, limits: Tensor, least: int, marked: Tensor) -> None:
    """Mark keys whose codes are a query's in at least so many of the first tables.

    Args:
        asked: integers (R, H, L, n), codes of queries.
        codes: of the same type (R or 1, H, L, m), codes of keys.
        limits: int64 (R, 2), contiguous: the bits that are compared, as a number with these bits,
            and the tables that count, at most L.
        least: meetings from which on a key is marked.
        marked: uint8 (R, H, n, m), neighbouring keys beside one another; written to.
    """
    rows, heads, _, queries = asked.shape
    keys = codes.shape[-1]
    codes = codes if codes.stride(-1) == 1 else codes.contiguous()
    if not marked.numel():
        return
    grid = rows * heads, triton.cdiv(keys, _MET), triton.cdiv(queries, _ASKING)
    _mark_meetings[grid](
        asked,
        codes,
        marked,
        limits,
        heads,
        queries,
        keys,
        least,
        *asked.stride(),
        codes.stride(0) if codes.shape[0] > 1 else 0,
        codes.stride(1),
        codes.stride(2),
        *marked.stride()[:3],
        QUERIES=_ASKING,
        BLOCK=_MET,
        num_warps=4,
    )
