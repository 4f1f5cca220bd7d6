"""Numerical tools: the largest values of a row, random numbers by key, soft caps.

On a processor some of them go through NumPy, whose comparison, sorting and partition use vector
instructions where torch's do not: several times faster there (``perf/decode_overhead.py``).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from sparse_attention.numerics.gpu import gpu_kernels

if TYPE_CHECKING:
    from torch import Tensor


def keyed_generator(device: torch.device, *key: object) -> torch.Generator:
    """A random generator whose numbers depend on ``key`` alone."""
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    generator = torch.Generator(device=device)
    return generator.manual_seed(int.from_bytes(digest, "little") >> 1)


def largest(values: Tensor, count: Tensor) -> Tensor:
    """Where the ``count`` largest values of each row are.

    Exactly ``count`` places of a row are true, or all that are above -inf if these are fewer; of
    equal values those with the lowest index come first.

    Args:
        values: float32 (R or 1, ..., n).
        count: int64, broadcastable to (R, ..., 1).

    Returns:
        bool (R, ..., n), or (1, ..., n) where the rows agree.
    """
    if values.is_cuda:
        values = values.expand(torch.broadcast_shapes(values.shape, (*count.shape[:-1], 1)))
    kernels = gpu_kernels("choosing") if values.is_cuda else None
    if kernels is not None:
        marked: Tensor = kernels.largest(values, count.to(values.device, non_blocking=True))
        return marked
    size, count = values.shape[-1], count.to(values.device)
    least, most = (int(bound) for bound in torch.aminmax(count))
    if most < 1:
        return torch.zeros_like(values, dtype=torch.bool)
    if least >= size:
        return values > -torch.inf
    threshold = _nth_largest(values, count.clamp(1, size), max(1, least), min(most, size))
    if values.is_cuda:
        chosen = values >= threshold
    else:
        chosen = torch.from_numpy(np.greater_equal(values.numpy(), threshold.numpy()))
    if least < 1:
        chosen = chosen & (count > 0)
    if float(threshold.amin()) == -torch.inf:
        chosen &= values > -torch.inf
    found = count_true(chosen)
    if bool((found > count).any()):
        above = values > threshold
        ties = chosen & ~above
        chosen = above | (ties & (ties.cumsum(-1) <= count - count_true(above)))
    return chosen


def _nth_largest(values: Tensor, count: Tensor, least: int, most: int) -> Tensor:
    """The ``count``-th largest value of each row, (..., 1), for counts from least to most."""
    size = values.shape[-1]
    if values.is_cuda:
        best = values.topk(most, dim=-1).values
        return best.gather(-1, count.expand(*values.shape[:-1], 1) - 1)
    ordered = np.array(values.numpy())
    if most * 4 < size or most == least:
        ordered.partition(size - most, axis=-1)
        ordered = ordered[..., size - most :]
    if most == least:
        return torch.from_numpy(ordered[..., :1])
    ordered.sort(axis=-1)
    lines = np.broadcast_shapes(count.shape[:-1], ordered.shape[:-1])
    place = ordered.shape[-1] - np.broadcast_to(count.numpy(), (*lines, 1))
    return torch.from_numpy(np.take_along_axis(ordered, place, axis=-1))


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
