"""What attention modules read: which layer's keys, with which queries and settings."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sparse_attention.errors import UserError
from sparse_attention.hf.latent import Latent, as_held, latent_modules
from sparse_attention.hf.layers import key_layers
from sparse_attention.model_facts import LayerSettings

_STATED = "scaling", "sliding_window", "softcap"
"""Keywords of an attention function that say what holds for its layer."""

Newest = tuple["weakref.ref[Tensor]", int]
"""The keys that a layer of the model's cache gave back last, and how many heads they have."""


@dataclass(frozen=True)
class Read:
    """What an attention module asks for."""

    layer: int
    """Which of the layers that keep keys it reads."""
    queries: Tensor
    """(R, H, G, n, D), as they meet the keys that are held."""
    settings: LayerSettings
    first: bool
    """Whether no module has read the newest keys of the layer before."""
    tiled: bool
    """Whether query head ``h`` reads key-value head ``h % H``; usually they are neighbours."""
    latent: Latent | None
    """What makes outputs of heads of what attention gives; None where it gives these."""

    def outputs(self, attended: Tensor) -> Tensor:
        """Outputs (R, heads, n, D) of the module's heads, of what attention gives its queries."""
        sums = (attended.transpose(1, 2) if self.tiled else attended).flatten(1, 2)
        return sums if self.latent is None else self.latent.outputs(sums)


class Reads:
    """The attention modules of a model while a cache is filled or read."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.kept = key_layers(model.config)
        self.newest: dict[int | None, Newest] = {}
        """By layer of the model's cache, written by who gives back keys."""
        self.expanding = latent_modules(model)
        """Modules that make keys and values of what they cache, by layer of the model's cache."""
        self._latents: dict[int, Latent] = {}
        self._read: dict[int, Newest] = {}
        self._settings: dict[Any, LayerSettings] = {}

    def held(self, place: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (R, H, n, D) of what a layer of the model's cache is given."""
        if place not in self.expanding:
            return keys, values
        if place not in self._latents:
            self._latents[place] = Latent(self.expanding[place], keys, values)
        return as_held(keys, values)

    def read(self, module: nn.Module, query: Tensor, key: Tensor, given: dict[str, Any]) -> Read:
        """What a module reads, by what it calls its attention function with.

        Args:
            module: of the attention.
            query: (R, heads, n, D).
            key: (R, kv_heads, m, D), or repeated by the module.
            given: keywords.

        Raises:
            UserError: if no layer keeps its keys.
        """
        place: int | None = getattr(module, "layer_idx", None)
        newest = self.newest.get(place)
        if newest is None or newest[0]() is not key:
            place = self._place(place, key)
        if place is None:
            raise UserError("it reads keys that are not those of one of its layers")
        newest = self.newest[place]
        first = self._read.get(place) is not newest
        self._read[place] = newest
        layer, latent = self.kept.numbers[place], self._latents.get(place)
        rows, heads, count, width = query.shape
        kv_heads = newest[1] if latent is None else 1
        stated = [given.get(name) for name in _STATED]
        asked = (layer, width, *stated)
        settings = self._settings.get(asked)
        if settings is None:
            settings = self._settings[asked] = self._stated(layer, width, *stated)
        sinks: Tensor | None = given.get("s_aux")
        if sinks is not None:
            own = sinks.view(kv_heads, heads // kv_heads)
            settings = replace(settings, sink_logits=own)
        met = query if latent is None else latent.queries(query)
        repeated = latent is None and key.shape[1] > kv_heads > 1
        tiled = repeated and torch.equal(key[:, 0], key[:, kv_heads])
        if tiled:
            queries = met.reshape(rows, heads // kv_heads, kv_heads, count, -1).transpose(1, 2)
        else:
            queries = met.reshape(rows, kv_heads, heads // kv_heads, count, -1)
        return Read(layer, queries, settings, first, tiled, latent)

    def _place(self, stated: int | None, key: Tensor) -> int | None:
        """The layer of the model's cache whose keys a module reads.

        That is not what it states where it is a module of several layers, or reads another one.
        """
        found = (place for place, (newest, _) in self.newest.items() if newest() is key)
        return next(found, stated if stated in self.kept.numbers else None)

    def _stated(
        self,
        layer: int,
        width: int,
        scaling: float | None,
        sliding_window: int | None,
        softcap: float | None,
    ) -> LayerSettings:
        """From the keywords of an attention function, and the window or chunks of the layer."""
        return LayerSettings(
            scaling=width**-0.5 if scaling is None else scaling,
            sliding_window=sliding_window or self.kept.windows[layer],
            softcap=softcap,
            chunk=self.kept.chunks[layer],
        )
