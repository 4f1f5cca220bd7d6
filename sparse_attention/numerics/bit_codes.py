"""Codes of many bits, packed into integers, and how far they lie apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

_WORD = 32


def pack_signs(values: Tensor) -> Tensor:
    """Signs of numbers (..., bits) as bits: int32 (..., ceil(bits / 32)); 0 counts as positive."""
    missing = -values.shape[-1] % _WORD
    if not values.is_cuda:
        packed = np.packbits(values.numpy() >= 0, axis=-1, bitorder="little")
        if missing:
            own, size = packed, (values.shape[-1] + missing) // 8
            packed = np.zeros((*values.shape[:-1], size), dtype=np.uint8)
            packed[..., : own.shape[-1]] = own
        return torch.from_numpy(packed.view("<i4").astype(np.int32, copy=False))
    signs = (values >= 0).long()
    signs = torch.nn.functional.pad(signs, (0, missing)).unflatten(-1, (-1, _WORD))
    words = (signs << torch.arange(_WORD, device=signs.device)).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).int()


def hamming(asked: Tensor, codes: Tensor) -> Tensor:
    """Bits in which two codes differ.

    Args:
        asked: int32 (..., Q, W).
        codes: int32 (..., W, m), with the same leading dimensions or ones that broadcast.

    Returns:
        uint8, or int16 for codes of more than 255 bits, (..., Q, m).
    """
    words = asked.shape[-1]
    kind = torch.uint8 if words * _WORD <= 255 else torch.int16
    total = None
    for word in range(words):
        different = asked[..., word, None] ^ codes[..., None, word, :]
        count = _count_bits(different).to(kind)
        total = count if total is None else total + count
    assert total is not None, "a code has at least one word"
    return total


def _count_bits(words: Tensor) -> Tensor:
    if not words.is_cuda:
        return torch.from_numpy(np.bitwise_count(words.numpy().view(np.uint32)))
    return count_bits_in_parallel(words)


def count_bits_in_parallel(words: Tensor) -> Tensor:
    """Bits that are set in each int32, by sums and shifts alone; for devices without a counter."""
    # Sums of neighbouring bits, then of pairs, fours and bytes, in parallel in each word.
    wide = words.long() & 0xFFFFFFFF
    wide = wide - ((wide >> 1) & 0x55555555)
    wide = (wide & 0x33333333) + ((wide >> 2) & 0x33333333)
    wide = (wide + (wide >> 4)) & 0x0F0F0F0F
    return ((wide * 0x01010101) >> 24) & 0xFF
