"""k-means clustering of many sets of vectors at once, the same at every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 4096
"""Vectors of each set whose distances to all centroids a device holds at a time."""
_DISTANCES = 1 << 18
"""Distances that a processor holds at a time: what its cache keeps until they are used."""
_SAMPLE, _PER_CENTROID = 2048, 32
"""Vectors that centroids are found from at least, and for each centroid, where there are more."""


def cluster(vectors: Tensor, count: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Centroids of each set of vectors.

    k-means++ (Arthur and Vassilvitskii, 2007): each first centroid is a vector, drawn with a
    probability in proportion to its squared distance to those drawn before, so that no two are
    equal while there are other vectors.  Then Lloyd's iterations; a centroid to which no vector is
    nearest stays.  All of that sees ``max(2048, 32 * count)`` of the vectors, evenly spaced, where
    there are more.

    Args:
        vectors: float32 (n, m, d), n sets of m vectors, at least one.
        count: centroids per set; if there are fewer distinct vectors, some are equal.
        iterations: of Lloyd's algorithm.
        generator: of the draws, on the CPU.

    Returns:
        float32 (n, count, d).
    """
    length = vectors.shape[1]
    sample = max(_SAMPLE, _PER_CENTROID * count)
    if length > sample:
        places = torch.arange(sample, device=vectors.device) * length // sample
        vectors = vectors.index_select(1, places)
    centroids = _first_centroids(vectors, count, generator)
    for _ in range(iterations):
        codes = nearest(vectors, centroids)
        sums, sizes = _by_cluster(vectors, codes, count)
        centroids = torch.where(sizes > 0, sums / sizes.clamp(min=1), centroids)
    return centroids


def _by_cluster(vectors: Tensor, codes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sums (n, count, d) and numbers (n, count, 1) of the vectors of each cluster."""
    sets, _, width = vectors.shape
    if vectors.is_cuda:  # additions by index come in another order at every run there
        member = (codes[..., None] == torch.arange(count, device=vectors.device)).to(vectors.dtype)
        return member.mT @ vectors, member.sum(1)[..., None]
    starts = torch.arange(0, sets * count, count)[:, None]
    codes = (codes + starts).flatten()
    sums = vectors.new_zeros(sets * count, width)
    sums.index_add_(0, codes, vectors.reshape(-1, width))
    sizes = torch.bincount(codes, minlength=sets * count)
    return sums.view(sets, count, width), sizes.view(sets, count, 1)


def nearest(vectors: Tensor, centroids: Tensor) -> Tensor:
    """Index of the centroid (n, c, d) nearest to each vector (n, m, d): int64 (n, m)."""
    # |x - c|^2 without |x|^2, which is the same for all centroids.
    lengths = centroids.square().sum(-1)[:, None]
    size = max(1, _DISTANCES // centroids.shape[:2].numel())
    codes = []
    for block in vectors.split(_BLOCK if vectors.is_cuda else size, dim=1):
        distances = torch.baddbmm(lengths, block, centroids.mT, alpha=-2)
        if vectors.is_cuda:
            codes.append(distances.argmin(-1))
        else:  # NumPy finds the least of a short line several times faster than torch
            codes.append(torch.from_numpy(distances.numpy().argmin(-1)))
    return torch.cat(codes, 1)


def _first_centroids(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    sets, length, _ = vectors.shape
    draws = torch.rand(count, sets, 1, generator=generator, dtype=torch.float64)
    draws = draws.to(vectors.device)
    lines = torch.arange(sets, device=vectors.device)
    chosen = [vectors[lines, (draws[0, :, 0] * length).long().clamp(max=length - 1)]]
    distances = torch.full(vectors.shape[:2], torch.inf, device=vectors.device)
    room = torch.empty_like(vectors)
    for draw in draws[1:]:
        torch.sub(vectors, chosen[-1][:, None], out=room)
        step = room.square_().sum(-1)
        distances = torch.minimum(distances, step)
        shares = distances.cumsum(-1, dtype=torch.float64)
        # The first vector whose cumulated distance is above the draw has a distance above 0.
        places = torch.searchsorted(shares, draw * shares[:, -1:], right=True)
        chosen.append(vectors[lines, places[:, 0].clamp(max=length - 1)])
    return torch.stack(chosen, 1)
