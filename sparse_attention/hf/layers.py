"""Which layers of a model keep keys, and what else transformers' caches say about layers.

The library counts the layers that keep keys of their own, from 0; a model may have others between
them: recurrent ones, ones without a past, and ones that read the keys of an earlier layer.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn
from transformers import Cache, DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin, LinearAttentionCacheLayerMixin


@dataclass(frozen=True)
class KeyLayers:
    """The layers of a model that keep keys of their own."""

    places: tuple[int, ...]
    """Their numbers among all layers of the model's cache."""
    windows: tuple[int | None, ...]
    """Of each, how many of the newest keys a query sees; None for all."""
    chunks: tuple[int | None, ...]
    """Of each, the length of the chunks that attention stays within; None without."""
    has_states: bool
    """Whether layers of the model have other states of their past, too."""

    @cached_property
    def numbers(self) -> dict[int, int]:
        """By the number among all layers of the model's cache, that among these."""
        return {place: number for number, place in enumerate(self.places)}

    def __len__(self) -> int:
        return len(self.places)

    def is_local(self, number: int) -> bool:
        """Whether a layer holds the keys of a window or a chunk only."""
        return self.windows[number] is not None or self.chunks[number] is not None


def decoder_of(model: PreTrainedModel) -> nn.Module:
    """The stack of layers, without the head that makes logits."""
    found: nn.Module = model.get_decoder()
    is_head = found is model.get_output_embeddings()  # ModernBERT's decoder calls it its decoder
    return getattr(model, "model", model) if found is model or is_head else found


def own_cache(model: PreTrainedModel) -> type[Any] | None:
    """The class of cache that a model has for itself alone and asks for; None for most."""
    beside = vars(sys.modules[type(decoder_of(model)).__module__])
    caches = (one for one in beside.values() if isinstance(one, type) and issubclass(one, Cache))
    return next((one for one in caches if one.__module__ == beside["__name__"]), None)


def new_cache(model: PreTrainedModel, *, offload: bool = False) -> Cache:
    """An empty cache of transformers for a model.

    ``offload``: its layers are in the memory of the CPU but when they are read; not of a model with
    a cache of its own.
    """
    own = own_cache(model)
    if own is not None:
        return own()
    return DynamicCache(config=model.config.get_text_config(), offloading=offload)


def key_layers(config: PreTrainedConfig) -> KeyLayers:
    """The layers of a model that keep keys, by its configuration.

    Raises:
        KeyError: if it has layers of a type that transformers has no cache for.
    """
    text = config.get_text_config()
    layers = DynamicCache(config=text).layers
    places = [place for place, layer in enumerate(layers) if isinstance(layer, CacheLayerMixin)]
    types = getattr(text, "layer_types", None) or [""] * len(layers)
    windows: list[int | None] = []
    chunks: list[int | None] = []
    for place in places:
        width = getattr(layers[place], "sliding_window", None)
        chunked = types[place] == "chunked_attention"
        windows.append(None if chunked else width)
        chunks.append(width if chunked else None)
    has_states = any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in layers)
    return KeyLayers(tuple(places), tuple(windows), tuple(chunks), has_states)
