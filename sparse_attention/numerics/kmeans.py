"""k-means clustering of many sets of vectors at once, the same at every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 4096
"""Vectors whose distances to all centroids are held at a time."""


def cluster(vectors: Tensor, count: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Centroids of each set of vectors.

    k-means++ (Arthur and Vassilvitskii, 2007): each first centroid is a vector, drawn with a
    probability in proportion to its squared distance to those drawn before, so that no two are
    equal while there are other vectors.  Then Lloyd's iterations; a centroid to which no vector is
    nearest stays.

    Args:
        vectors: float32 (n, m, d), n sets of m vectors, at least one.
        count: centroids per set; if there are fewer distinct vectors, some are equal.
        iterations: of Lloyd's algorithm.
        generator: of the draws, on the CPU.

    Returns:
        float32 (n, count, d).
    """
    centroids = _first_centroids(vectors, count, generator)
    sets, _, width = vectors.shape
    numbers = torch.arange(count, device=vectors.device)
    for _ in range(iterations):
        sums = torch.zeros_like(centroids)
        sizes = vectors.new_zeros(sets, count)
        for block in vectors.split(_BLOCK, dim=1):
            codes = nearest(block, centroids)
            if block.is_cuda:  # additions by scattering come in another order at every run there
                member = (codes[..., None] == numbers).to(block.dtype)
                sums.baddbmm_(member.mT, block)
                sizes.add_(member.sum(1))
            else:
                sums.scatter_add_(1, codes[..., None].expand(-1, -1, width), block)
                sizes.scatter_add_(1, codes, torch.ones_like(codes, dtype=sizes.dtype))
        means = sums / sizes[..., None].clamp(min=1)
        centroids = torch.where(sizes[..., None] > 0, means, centroids)
    return centroids


def nearest(vectors: Tensor, centroids: Tensor) -> Tensor:
    """Index of the centroid (n, c, d) nearest to each vector (n, m, d): int64 (n, m)."""
    parts = []
    for block in vectors.split(_BLOCK, dim=1):
        # |x - c|^2 without |x|^2, which is the same for all centroids.
        distances = torch.baddbmm(
            centroids.square().sum(-1)[:, None], block, centroids.mT, alpha=-2
        )
        parts.append(distances.argmin(-1))
    return torch.cat(parts, 1)


def _first_centroids(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    sets, length, _ = vectors.shape
    draws = torch.rand(count, sets, 1, generator=generator, dtype=torch.float64)
    draws = draws.to(vectors.device)
    lines = torch.arange(sets, device=vectors.device)
    chosen = [vectors[lines, (draws[0, :, 0] * length).long().clamp(max=length - 1)]]
    distances = torch.full(vectors.shape[:2], torch.inf, device=vectors.device)
    for draw in draws[1:]:
        step = (vectors - chosen[-1][:, None]).square().sum(-1)
        distances = torch.minimum(distances, step)
        shares = distances.cumsum(-1, dtype=torch.float64)
        # The first vector whose cumulated distance is above the draw has a distance above 0.
        places = torch.searchsorted(shares, draw * shares[:, -1:], right=True)
        chosen.append(vectors[lines, places[:, 0].clamp(max=length - 1)])
    return torch.stack(chosen, 1)
