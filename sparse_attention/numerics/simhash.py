"""SimHash: codes of vectors, how often they meet, and with which probability (Charikar, 2002)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from sparse_attention.numerics.gpu import gpu_kernels
from sparse_attention.numerics.products import product
from sparse_attention.numerics.tensors import keyed_generator

if TYPE_CHECKING:
    from torch import Tensor

Packing = Literal["int64", "float32"]

_MOST_BITS = 62
_INTEGERS = (("uint8", 8), ("int16", 15), ("int32", 31), ("int64", _MOST_BITS))
"""Types of a code, each with the most bits that it holds."""
_MATCH_BLOCK = 1 << 27
"""Comparisons of codes at a time, a byte each."""
_MANY_HITS = 1 << 19
"""Hits from which on a processor takes table after table; of fewer the calls would be most of the
time (measured with 1024 to 32768 keys)."""
_ROOM = 1 << 22
"""Bytes for the comparisons of several tables."""
_LOWEST = math.log(2.0**-126)
"""Of the smallest normal float32."""


def projections(width: int, bits: int, tables: int, *key: object) -> Tensor:
    """Gaussian vectors, float32 (bits, tables, width), drawn by ``key``.

    Bit k of table l is the same for all numbers of bits and tables, so that codes of many bits and
    tables contain those of fewer.
    """
    # torch draws normal numbers in blocks of 16; whole blocks make a longer draw begin alike.
    rows = -(-tables // 16) * 16
    planes = []
    for bit in range(bits):
        generator = keyed_generator(torch.device("cpu"), "simhash", *key, bit)
        planes.append(torch.randn(rows, width, generator=generator)[:tables])
    return torch.stack(planes)


def encode(vectors: Tensor, planes: Tensor, packing: Packing) -> Tensor:
    """Codes of vectors: bit k of table l is the sign of the product with ``planes[k, l]``.

    Args:
        vectors: float32 (n, H, m, D).
        planes: from ``projections``, (K, L, D).
        packing: int64 for the K bits of a table in one integer of the smallest type that holds
            them, (n, H, L, m); float32 for numbers +1 and -1, (n, H, L, K, m).
    """
    bits, tables, width = planes.shape
    count, heads, length, _ = vectors.shape
    flat = vectors.reshape(count * heads * length, width)
    products = product(planes.flatten(0, 1)[None], flat.T[None])[0]
    if packing == "int64" and not vectors.is_cuda:
        codes = torch.from_numpy(_pack_numpy(products.view(bits, tables, -1).numpy()))
        return codes.view(tables, count, heads, length).permute(1, 2, 0, 3).contiguous()
    kernels = gpu_kernels("hashing") if packing == "int64" else None
    if kernels is not None:
        codes = products.new_empty(count, heads, tables, length, dtype=_integer(bits))
        kernels.pack_signs(products.view(bits, tables, -1), codes.flatten(0, 1))
        return codes
    signs = (products >= 0).view(bits, tables, count, heads, length)
    if packing == "float32":
        return signs.permute(2, 3, 1, 0, 4).float() * 2 - 1
    powers = 1 << torch.arange(bits, device=vectors.device)
    codes = (signs * powers.view(-1, 1, 1, 1, 1)).sum(0).to(_integer(bits))
    return codes.permute(1, 2, 0, 3).contiguous()


def _pack_numpy(products: np.ndarray) -> np.ndarray:
    """Codes (L, n) of products (K, L, n), by vector instructions that torch does not use."""
    signs = np.greater_equal(products, 0).view(np.uint8)
    codes = signs[-1].astype(str(_integer(len(signs))).removeprefix("torch."))
    for bit in signs[-2::-1]:
        np.add(codes, codes, out=codes)
        np.add(codes, bit, out=codes)
    return codes


def narrow(codes: Tensor, bits: int, tables: int, packing: Packing) -> Tensor:
    """The codes of fewer bits and tables that are part of ``codes``."""
    if packing == "float32":
        return codes[:, :, :tables, :bits].contiguous()
    return (codes[:, :, :tables] & ((1 << bits) - 1)).to(_integer(bits))


def _integer(bits: int) -> torch.dtype:
    return getattr(torch, next(name for name, most in _INTEGERS if bits <= most))


def code_bytes(bits: int) -> int:
    """Bytes of the code of one table, packed."""
    return _integer(bits).itemsize


def can_mark(codes: Tensor, packing: Packing) -> bool:
    """Whether ``mark_meetings`` can be had for such codes."""
    return packing == "int64" and codes.is_cuda and gpu_kernels("hashing") is not None


def mark_meetings(
    asked: Tensor, parts: Sequence[Tensor], sizes: Sequence[tuple[int, int]], least: int
) -> Tensor:
    """Keys that a query meets in at least so many tables, where ``can_mark``.

    Args:
        asked: codes of queries, (R, H, L, G, Q).
        parts: codes of keys, each (R or 1, H, L, m).
        sizes: bits and tables of each row that count, or of all rows.
        least: meetings from which on a key is marked.

    Returns:
        bool (R, H, G, Q, m of all parts).
    """
    kernels = gpu_kernels("hashing")
    assert kernels is not None
    rows, heads, _, *lines = asked.shape
    ends = [0, *accumulate(part.shape[-1] for part in parts)]
    marked = torch.empty(rows, heads, *lines, ends[-1], dtype=torch.uint8, device=asked.device)
    limits, flat = _limits(tuple(sizes), rows, asked.device), marked.flatten(2, 3)
    for codes, (start, end) in zip(parts, pairwise(ends), strict=True):
        kernels.mark_meetings(asked.flatten(3), codes, limits, least, flat[..., start:end])
    return marked.view(torch.bool)


@lru_cache(maxsize=256)
def _limits(sizes: tuple[tuple[int, int], ...], rows: int, device: torch.device) -> Tensor:
    """For each row the bits that count, as a number with these bits, and tables: int64 (R, 2)."""
    of_rows = [((1 << bits) - 1, tables) for bits, tables in sizes] * (rows // len(sizes))
    return torch.tensor(of_rows, device=device)


def count_meetings(asked: Tensor, codes: Tensor, packing: Packing) -> Tensor:
    """Tables in which queries and keys have the same code.

    Args:
        asked: codes of queries, (R, H, L[, K], G, Q).
        codes: codes of keys, (R or 1, H, L[, K], m).
        packing: of both.

    Returns:
        uint8, or int16 for more than 255 tables, (R, H, G, Q, m).
    """
    rows, heads, tables, *_, group, queries = asked.shape
    shape = (rows, heads, group, queries, codes.shape[-1])
    kind = torch.uint8 if tables <= 255 else torch.int16
    if packing == "float32":
        bits = asked.shape[3]
        codes = codes.expand(rows, -1, -1, -1, -1)
        met = torch.einsum("rhlkgq,rhlkm->rhgqlm", asked, codes) == bits
        return met.sum(-2, dtype=kind)
    hits = torch.zeros(shape, dtype=kind, device=asked.device)
    if not asked.is_cuda:  # NumPy compares and adds bytes with vector instructions, torch does not
        _count_meetings_numpy(asked.numpy(), codes.numpy(), hits.numpy())
        return hits
    block = max(1, _MATCH_BLOCK // max(1, hits.numel()))
    for first in range(0, tables, block):
        own, theirs = asked[:, :, first : first + block], codes[:, :, first : first + block]
        met = theirs[:, :, None, None] == own.permute(0, 1, 3, 4, 2)[..., None]
        hits += met.sum(-2, dtype=kind)
    return hits


def _count_meetings_numpy(asked: np.ndarray, codes: np.ndarray, hits: np.ndarray) -> None:
    rows, heads, tables, *lines = asked.shape
    if hits.size > _MANY_HITS:
        met = np.empty(hits.shape, dtype=bool)
        as_numbers = met.view(np.uint8)
        for table in range(tables):
            np.equal(codes[:, :, None, None, table], asked[:, :, table, :, :, None], out=met)
            np.add(hits, as_numbers, out=hits)
        return
    block = max(1, min(255, tables, _ROOM // max(1, hits.size)))  # sums of 255 fit into a byte
    room = np.empty((rows, heads, block, *lines, codes.shape[-1]), dtype=bool)
    for first in range(0, tables, block):
        own, theirs = asked[:, :, first : first + block], codes[:, :, first : first + block]
        met = np.equal(theirs[:, :, :, None, None], own[..., None], out=room[:, :, : own.shape[2]])
        hits += met.view(np.uint8).sum(2, dtype=np.uint8)


def log_meeting_probability(
    cosine: Tensor, bits: Tensor | int, tables: Tensor | int, min_hits: int
) -> Tensor:
    """Log of the probability that two vectors meet in at least ``min_hits`` tables.

    Vectors agree in one bit with probability ``p = 1 - acos(cosine) / pi`` and in all K bits of a
    table with ``P = p^K``.  With L tables, stable for small P (in float64, because a sum cancels):

    - at least one: ``u = 1 - (1 - P)^L = -expm1(L log1p(-P))``,
    - at least two: ``u = 1 - (1 - P)^(L - 1) (1 + (L - 1) P)
      = -expm1((L - 1) log1p(-P) + log1p((L - 1) P))``.

    Args:
        cosine: float32 in [-1, 1].
        bits: K, also as float64 that broadcasts to ``cosine``; an int is faster.
        tables: L, likewise.
        min_hits: 1 or 2.

    Returns:
        float32 in the shape of ``cosine``.
    """
    agreement = cosine.to(torch.float64, copy=True).acos_().div_(-math.pi).add_(1)
    agreement = _power(agreement, bits) if isinstance(bits, int) else agreement.pow_(bits)
    miss = agreement.neg().log1p_()
    if min_hits == 1:
        exponent = miss.mul_(tables)
    else:
        others = tables - 1
        exponent = miss.mul_(others).add_(agreement.mul_(others).log1p_())
    return exponent.expm1_().neg_().log_().clamp_(min=_LOWEST).float()


def _power(base: Tensor, exponent: int) -> Tensor:
    """``base ** exponent`` for a positive exponent, by products: far faster than ``pow``."""
    result = None
    while exponent:
        if exponent & 1:
            result = base if result is None else result * base
        base, exponent = base * base if exponent > 1 else base, exponent >> 1
    assert result is not None
    return result
