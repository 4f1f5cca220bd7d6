"""Numerical tools: random numbers by key, orders, counts, soft caps.

On a processor some of them go through NumPy, whose comparison, sorting and partition use vector
instructions where torch's do not: several times faster there (``perf/decode_overhead.py``).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor


def keyed_generator(device: torch.device, *key: object) -> torch.Generator:
    """A random generator whose numbers depend on ``key`` alone."""
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    generator = torch.Generator(device=device)
    return generator.manual_seed(int.from_bytes(digest, "little") >> 1)


def sort_falling(values: Tensor) -> Tensor:
    """The values of each row, largest first; float32 (..., n)."""
    if values.is_cuda:
        return values.sort(-1, descending=True).values
    ordered = np.sort(values.numpy(), axis=-1)
    return torch.from_numpy(ordered).flip(-1)


def falling_order(values: Tensor) -> Tensor:
    """Places of each line by falling value, of equal values the lowest first: int64 (..., n).

    ``values`` are float32, not negative and on a processor.
    """
    # Sorted as numbers that hold value and place, several times faster than places are sorted; the
    # bits of floats that are not negative are ordered as they are.
    places = np.arange(values.shape[-1], dtype=np.int64)
    keyed = places - (values.numpy().view(np.int32).astype(np.int64) << 32)
    keyed.sort(axis=-1)
    return torch.from_numpy(np.bitwise_and(keyed, 0xFFFFFFFF, out=keyed))


def as_numbers(mask: Tensor) -> Tensor:
    """1 for true and 0 for false, float32; on a processor several times faster than ``float``."""
    return mask.view(torch.uint8).float()


def count_true(mask: Tensor) -> Tensor:
    """True entries of each row of a bool tensor (..., n): int64 (..., 1)."""
    if mask.is_cuda:
        return mask.sum(-1, keepdim=True)
    # Sums of two bytes are several times faster than longer ones.
    kind = np.uint16 if mask.shape[-1] < 1 << 16 else np.int64
    counts = mask.numpy().view(np.uint8).sum(-1, dtype=kind, keepdims=True)
    return torch.from_numpy(counts.astype(np.int64, copy=False))


def soft_cap(scores: Tensor, cap: float | None) -> Tensor:
    """``cap * tanh(scores / cap)``, in place; the scores themselves where there is no cap."""
    return scores if cap is None else scores.div_(cap).tanh_().mul_(cap)
