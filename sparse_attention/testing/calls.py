"""Attention operations on random tensors, for testing methods without a model."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.geometry import Geometry
from sparse_attention.attention.scores import SharedScores
from sparse_attention.attention.selection import Selection
from sparse_attention.cache.context import Segment
from sparse_attention.cache.view import KeyView
from sparse_attention.config import AttentionConfig
from sparse_attention.learned.channels import DEFAULT_NAME as CHANNEL_FILE
from sparse_attention.learned.files import write_file
from sparse_attention.learned.hash_networks import DEFAULT_NAME as HASH_FILE
from sparse_attention.learned.hash_networks import network_tensors
from sparse_attention.maskers import Masker
from sparse_attention.model_facts import LayerSettings, ModelProfile
from sparse_attention.testing.device import DEVICE

HEADS = {"mha": (4, 1), "gqa": (2, 3), "mqa": (1, 4)}
"""Key-value heads and query heads per key-value head."""


@dataclass
class Operation:
    """An attention call with the tensors that it was made of."""

    call: AttentionCall
    keys: Tensor
    """(R, H, K, D)."""
    values: Tensor
    """(R, H, K, D)."""

    def select(self) -> Selection:
        """What all methods of the call select together."""
        selection = Selection.nothing(self.call.shape[-1], self.call.device)
        for method in self.call.methods:
            assert isinstance(method, Masker)
            selection = method.select(self.call, selection)
        return selection.or_newest_where_empty(self.call.geometry.newest)

    @property
    def invisible(self) -> Tensor:
        """Float (Q, K): -inf where a key is invisible, 0 elsewhere."""
        _, _, _, queries, keys = self.call.shape
        mask = torch.zeros(queries, keys, device=DEVICE)
        return (
            mask if self.call.visible is None else mask.masked_fill(~self.call.visible, -torch.inf)
        )


_FILES = tempfile.TemporaryDirectory(prefix="calibrated-")
"""Removed at the end of the process."""


@cache
def calibrated_model(
    heads: tuple[int, int], width: int = 16, layers: int = 2, bits: int = 32, shared: bool = True
) -> ModelProfile:
    """A model with random calibration files beside it; ``shared``: key networks per KV head."""
    folder = Path(tempfile.mkdtemp(dir=_FILES.name))
    kv_heads, group = heads
    count = kv_heads * group
    profile = ModelProfile("random", folder, layers, count, kv_heads, width, None)
    generator = torch.Generator().manual_seed(0)

    def network(networks: int) -> tuple[tuple[Tensor, Tensor], ...]:
        sizes = ((width, 12), (12, bits))
        return tuple(
            (
                torch.randn(networks, size, following, generator=generator) / size**0.5,
                torch.randn(networks, following, generator=generator) / 4,
            )
            for size, following in sizes
        )

    channels: dict[str, Tensor] = {}
    hashes: dict[str, Tensor] = {}
    for layer in range(layers):
        order = torch.rand(count, width, generator=generator).argsort(-1).short()
        channels[f"layers.{layer}.qk_proj"] = order
        hashes |= network_tensors(layer, "query", network(count))
        hashes |= network_tensors(layer, "key", network(kv_heads if shared else count))
    write_file(folder / CHANNEL_FILE, "double_sparsity", channels, {}, profile)
    write_file(folder / HASH_FILE, "hash_attention", hashes, {"activation": "silu"}, profile)
    return profile


def shortened(view: KeyView, tail: int) -> KeyView:
    """The view before the last tokens of the tails were there; what is known of them is shared."""
    return replace(
        view, tail_keys=view.tail_keys[:, :, :tail], tail_values=view.tail_values[:, :, :tail]
    )


def single_query(call: AttentionCall, index: int, tail: int) -> AttentionCall:
    """One query of a call with one row, when the tail had ``tail`` tokens and it was the newest."""
    queries, view = call.queries[:, :, :, index : index + 1], shortened(call.view, tail)
    settings = LayerSettings(call.scaling, softcap=call.softcap)
    geometry = Geometry.of(0, view.segment.end + tail, 1, None, queries.device)
    return AttentionCall(
        SharedScores(queries, view, geometry, settings),
        range(1),
        stack=call.stack,
        batch=call.batch,
        sample_keys=call.sample_keys,
    )


def make_operation(
    *methods: Masker,
    heads: tuple[int, int] = (2, 2),
    rows: int = 1,
    queries: int = 1,
    prefix: int = 120,
    tail: int = 8,
    width: int = 16,
    scale: float = 1.0,
    window: int | None = None,
    softcap: float | None = None,
    seed: int = 0,
    samples: list[str] | None = None,
    layer: int = 0,
) -> Operation:
    """Random queries at the end of a prefix and tails, which hold the queries' own keys."""
    config = AttentionConfig(methods).for_model(calibrated_model(heads, width))
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(DEVICE)

    count, group = heads
    segment = Segment(normal(count, prefix, width), normal(count, prefix, width))
    own = normal(rows, count, tail, width), normal(rows, count, tail, width)
    view = KeyView(layer, segment, *own, count, [{} for _ in range(rows)])
    states = normal(rows, count, group, queries, width) * scale
    geometry = Geometry.of(0, prefix + tail, queries, window, states.device)
    settings = LayerSettings(width**-0.5, window, softcap=softcap)
    call = AttentionCall(
        SharedScores(states, view, geometry, settings),
        range(rows),
        stack=[config.maskers] * rows,
        batch=[config.maskers],
        sample_keys=samples or [f"sample {row}" for row in range(rows)],
    )
    keys = torch.cat([segment.keys.expand(rows, -1, -1, -1), view.tail_keys], 2)
    values = torch.cat([segment.values.expand(rows, -1, -1, -1), view.tail_values], 2)
    return Operation(call, keys, values)
