"""What attention modules read: which layer's keys, with which queries and settings."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from sparse_attention.errors import UserError
from sparse_attention.hf.latent import Latent, as_held, latent_modules
from sparse_attention.hf.layers import key_layers
from sparse_attention.model_facts import LayerSettings


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
    latent: Latent | None
    """What makes outputs of heads of what attention gives; None where it gives these."""


class Reads:
    """The attention modules of a model while a cache is filled or read."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.kept = key_layers(model.config)
        self._expanding, self._latents = latent_modules(model), dict[int, Latent]()
        self._newest: dict[int, weakref.ref[Tensor]] = {}
        self._unread: set[int] = set()

    def held(self, place: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (R, H, n, D) of what a layer of the model's cache is given."""
        if place not in self._expanding:
            return keys, values
        if place not in self._latents:
            self._latents[place] = Latent(self._expanding[place], keys, values)
        return as_held(keys, values)

    def note(self, place: int, keys: Tensor) -> None:
        """A layer of the model's cache was given new keys, and gave back ``keys``."""
        self._newest[place] = weakref.ref(keys)
        self._unread.add(place)

    def read(self, module: nn.Module, query: Tensor, key: Tensor, given: dict[str, Any]) -> Read:
        """What a module reads, by what it calls its attention function with.

        Args:
            module: of the attention.
            query: (R, heads, n, D).
            key: (R, kv_heads, m, D).
            given: keywords.

        Raises:
            UserError: if no layer keeps its keys.
        """
        place = getattr(module, "layer_idx", None)
        if place not in self.kept.numbers:  # a module of several layers, or one that reads another
            known = (place for place, newest in self._newest.items() if newest() is key)
            place = next(known, None)
        if place is None:
            raise UserError("it reads keys that are not those of one of its layers")
        first = place in self._unread
        self._unread.discard(place)
        layer, latent = self.kept.numbers[place], self._latents.get(place)
        rows, heads, count, width = query.shape
        kv_heads = key.shape[1] if latent is None else 1
        settings = _settings(kv_heads, heads // kv_heads, width, **given)
        met = query if latent is None else latent.queries(query)
        queries = met.reshape(rows, kv_heads, heads // kv_heads, count, -1)
        return Read(layer, queries, self.kept.limited(layer, settings), first, latent)


def _settings(
    kv_heads: int,
    group: int,
    width: int,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> LayerSettings:
    """From the keywords of an attention function."""
    return LayerSettings(
        scaling=width**-0.5 if scaling is None else scaling,
        sliding_window=sliding_window,
        softcap=softcap,
        sink_logits=None if s_aux is None else s_aux.view(kv_heads, group),
    )
