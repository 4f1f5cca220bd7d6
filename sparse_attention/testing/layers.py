"""Random layers of a context, for testing presses without a model."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_attention.cache.statistics import LayerStatistics, StatisticsRequest
from sparse_attention.model_facts import LayerFacts, LayerSettings
from sparse_attention.presses import Press, PressCall
from sparse_attention.testing.device import DEVICE

WIDTH = 16
THETA = 100.0


def angles(positions: Tensor) -> Tensor:
    """Angles (..., WIDTH) of the rotation at positions, in the dtype of the positions."""
    steps = torch.arange(0, WIDTH, 2, dtype=positions.dtype, device=positions.device) / WIDTH
    frequencies = THETA**-steps
    angle = positions[..., None] * frequencies
    return torch.cat([angle, angle], -1)


def turn(vectors: Tensor, positions: Tensor) -> Tensor:
    """Rotate vectors (..., m, WIDTH) by positions (..., m)."""
    angle = angles(positions.to(vectors.dtype))
    half = WIDTH // 2
    swapped = torch.cat([-vectors[..., half:], vectors[..., :half]], -1)
    return vectors * angle.cos() + swapped * angle.sin()


class HalfRotary:
    """The rotation of Llama, see ``Rotary``."""

    def rotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Vectors (..., m, WIDTH) at their positions (..., m)."""
        return turn(vectors.float(), positions)

    def unrotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """The inverse of ``rotate``."""
        return turn(vectors.float(), -positions)

    def average(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """The mean of vectors (m, WIDTH) rotated to each of the positions (n,)."""
        spread = vectors.float()[:, None].expand(-1, positions.shape[0], -1)
        return turn(spread, positions.expand(vectors.shape[0], -1)).mean(1)


def make_layer(
    *presses: Press,
    length: int = 100,
    heads: int = 2,
    group: int = 3,
    layer: int = 0,
    layers: int = 4,
    seed: int = 0,
    chunk: int | None = None,
    softcap: float | None = None,
    sinks: bool = False,
) -> tuple[PressCall, Tensor]:
    """A random layer with the statistics that the presses need, and its queries (H, G, n, D)."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(DEVICE)

    # Queries with a mean, as in real models: some directions matter more than others.
    plain = normal(heads, group, length, WIDTH) + 2 * normal(heads, group, 1, WIDTH)
    positions = torch.arange(length, device=DEVICE)
    queries = turn(plain, positions)
    keys, values = turn(normal(heads, length, WIDTH), positions), normal(heads, length, WIDTH)
    settings = LayerSettings(
        WIDTH**-0.5, softcap=softcap, sink_logits=normal(heads, group) if sinks else None
    )
    weight = normal(heads, group, WIDTH, 24)
    facts = LayerFacts(settings, HalfRotary(), lambda: weight)
    request = StatisticsRequest()
    for press in presses:
        request = request | press.needs
    statistics = LayerStatistics.empty(request, facts, (heads, group, WIDTH))
    step = chunk or length
    for start in range(0, length, step):
        end = min(start + step, length)
        statistics = statistics.extended(queries[:, :, start:end], keys[:, :end])
    call = PressCall(
        layer,
        layers,
        keys,
        values,
        positions.expand(heads, -1),
        length=length,
        statistics=statistics,
    )
    return call, queries
