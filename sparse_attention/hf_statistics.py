"""What transformers' modules show of a prefill: queries, rotations, output projections.

The model's own attention runs; a function in its place looks on and hands over.  See
``prefill_statistics`` for what becomes of it.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .prefill_statistics import LayerFacts, LayerSettings, PrefillStatistics, Rotary


@contextlib.contextmanager
def observing(model: PreTrainedModel, statistics: PrefillStatistics) -> Iterator[dict[str, Any]]:
    """Let ``statistics`` see the attention of forwards that get the keywords that this yields.

    The model's own attention function does the work; it is replaced by one that looks on and calls
    it, for the forwards with these keywords only, until the end of the context.
    """
    if not statistics.request:
        yield {}
        return
    name = model.config.get_text_config()._attn_implementation
    rotaries = _rotary_layers(model)

    before = ALL_ATTENTION_FUNCTIONS._local_mapping.get(name)
    registered = before or type(ALL_ATTENTION_FUNCTIONS)._global_mapping.get(name)

    def look_on(module: nn.Module, query: Tensor, key: Tensor, *args: Any, **given: Any) -> Any:
        if given.pop("prefill_statistics", None) is statistics:
            _observe(statistics, module, query, key, rotaries, given)
        own = registered or sys.modules[type(module).__module__].eager_attention_forward
        return own(module, query, key, *args, **given)

    ALL_ATTENTION_FUNCTIONS[name] = look_on
    try:
        yield {"prefill_statistics": statistics}
    finally:
        del ALL_ATTENTION_FUNCTIONS[name]
        if before is not None:
            ALL_ATTENTION_FUNCTIONS[name] = before


def _observe(
    statistics: PrefillStatistics,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    rotaries: Sequence[Rotary | None],
    given: dict[str, Any],
) -> None:
    _, heads, count, width = query.shape
    kv_heads, layer = key.shape[1], module.layer_idx
    assert isinstance(layer, int)
    facts = LayerFacts(
        attention_settings(kv_heads, heads // kv_heads, width, **given),
        rotaries[layer],
        _output_weight(module, kv_heads, heads // kv_heads),
    )
    grouped = query[0].view(kv_heads, heads // kv_heads, count, width)
    statistics.observe(layer, grouped, key[0], facts)


def attention_settings(
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


def _output_weight(module: nn.Module, kv_heads: int, group: int) -> Tensor | None:
    """(kv_heads, group, head_dim, hidden), a view of the weight; None if it is not found."""
    projection = getattr(module, "o_proj", None)
    if not isinstance(projection, nn.Linear):
        return None
    return projection.weight.T.unflatten(0, (kv_heads, group, -1))


class _RotaryEmbedding:
    """The rotation of a layer by the architecture's own functions; see ``Rotary``.

    These are linear in the tables of cosines and sines, so that other rotations than those of
    single positions come from other tables: the inverse has the sines negated, a mean of rotations
    the means of both.
    """

    def __init__(self, embedding: nn.Module, apply: Callable[..., Any], layer_type: str) -> None:
        self._embedding, self._apply = embedding, apply
        takes_type = "layer_type" in inspect.signature(embedding.forward).parameters
        self._more = (layer_type,) if takes_type else ()

    def _tables(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cosines and sines (..., d) in float32, and the square of the factor on both."""
        like = torch.empty(0, device=positions.device)
        flat = positions.reshape(1, -1)
        cosines, sines = self._embedding(like, flat, *self._more)
        shape = (*positions.shape, cosines.shape[-1])
        cosines, sines = cosines.view(shape), sines.view(shape)
        return cosines, sines, (cosines.square() + sines.square()).mean()

    def _turn(self, vectors: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        lines = vectors.float()[:, None]
        return self._apply(lines, lines, cosines, sines)[0][:, 0]

    def rotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        cosines, sines, square = self._tables(positions)
        return self._turn(vectors, cosines / square.sqrt(), sines / square.sqrt())

    def unrotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        cosines, sines, square = self._tables(positions[None])
        return self._turn(vectors, cosines / square, -sines / square)

    def average(self, vectors: Tensor, positions: Tensor) -> Tensor:
        cosines, sines, _ = self._tables(positions)
        return self._turn(
            vectors[None], cosines.mean(0, keepdim=True)[None], sines.mean(0, keepdim=True)[None]
        )[0]


class _NoRotation:
    """Of a layer that knows no positions; see ``Rotary``."""

    def rotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        return vectors.float()

    def unrotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        return vectors.float()

    def average(self, vectors: Tensor, positions: Tensor) -> Tensor:
        return vectors.float()


def _rotary_layers(model: PreTrainedModel) -> list[Rotary | None]:
    """How each layer turns its keys, None where that is not a rotation of fixed frequencies.

    Found out by experiment: in a sequence of one token nothing but the keys' own rotation depends
    on the position, so that keys at two positions tell what it is.
    """
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or [""] * config.num_hidden_layers
    embedding = getattr(model.get_decoder(), "rotary_emb", None)
    apply = getattr(sys.modules[type(model).__module__], "apply_rotary_pos_emb", None)
    parameters = repr(getattr(config, "rope_parameters", ""))
    # Frequencies that depend on the length of the sequence are no fixed rotation.
    fixed = "dynamic" not in parameters and "longrope" not in parameters
    first, second = (_keys_at(model, position) for position in (0, 5))
    layers: list[Rotary | None] = []
    for kind, at_start, later in zip(kinds, first, second, strict=True):
        rotary: Rotary | None = None
        if torch.equal(at_start, later):
            rotary = _NoRotation()
        elif fixed and embedding is not None and apply is not None:
            found = _RotaryEmbedding(embedding, apply, kind)
            positions = torch.full((at_start.shape[0], 1), 5, device=at_start.device)
            turned = found.rotate(at_start, positions)
            error = (turned - later).norm() / later.norm().clamp(min=1e-12)
            rotary = found if error < (1e-3 if model.dtype == torch.float32 else 0.05) else None
        layers.append(rotary)
    return layers


def _keys_at(model: PreTrainedModel, position: int) -> list[Tensor]:
    """Keys (H, 1, D) of each layer for a single token at a position."""
    cache = DynamicCache(config=model.config.get_text_config())
    ids = torch.tensor([[7 % model.config.get_text_config().vocab_size]], device=model.device)
    model.get_decoder()(
        input_ids=ids,
        position_ids=torch.tensor([[position]], device=model.device),
        past_key_values=cache,
        use_cache=True,
    )
    layers: list[Any] = cache.layers
    return [layer.keys[0].float() for layer in layers]
