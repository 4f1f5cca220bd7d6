"""Reading a context with the model's own dense attention, and what can be seen of it meanwhile.

The model's own attention runs; a function in its place looks on and hands over what
``cache.statistics`` collects.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sparse_attention.cache.context import Context, ContextLayer, Segment
from sparse_attention.cache.statistics import NOTHING, PrefillStatistics, StatisticsRequest
from sparse_attention.errors import NotFinite
from sparse_attention.hf.architecture import Unsupported
from sparse_attention.hf.chunks import chunks_without_masks
from sparse_attention.hf.layers import decoder_of, new_cache
from sparse_attention.hf.projection import output_weight
from sparse_attention.hf.reads import Reads
from sparse_attention.hf.rotary import rotary_layers
from sparse_attention.hf.states import goes_on_at_once, states_of
from sparse_attention.hf.windows import rotated_for
from sparse_attention.model_facts import LayerFacts

_current: ContextVar[_Observer | None] = ContextVar("current", default=None)
"""Who looks on at the forward that runs."""


@torch.inference_mode()
def prefill(
    model: PreTrainedModel,
    tokens: Sequence[int],
    chunk: int,
    request: StatisticsRequest = NOTHING,
    length: int = 0,
    *,
    offload: bool = False,
) -> Context:
    """Read a context with the model's own dense attention, ``chunk`` tokens at a time.

    Runs the decoder stack without the head, because no logits of the context are needed.  What is
    requested is collected on the way; keys and values are the same with and without.  They are
    those of a sequence of ``length`` tokens, if that is more; see ``windows``.  ``offload`` keeps
    them in the memory of the CPU, from where a layer comes to the model's device to be read.

    Raises:
        UserError: if the model keeps something else than keys and values of all tokens.
        NotFinite: if some of these are NaN or infinite, whether they would be read or not.
    """
    offload = offload and model.device.type == "cuda"
    cache = new_cache(model, offload=offload)
    ids = torch.tensor([list(tokens)], device=model.device)
    statistics = PrefillStatistics(request)
    chunk = chunk if goes_on_at_once(model) else len(tokens)
    whole = rotated_for(model, max(length, len(tokens)))
    with whole, chunks_without_masks(model), observing(model, cache, statistics):
        for start in range(0, len(tokens), chunk):
            part = ids[:, start : start + chunk]
            positions = torch.arange(start, start + part.shape[1], device=ids.device)[None]
            decoder_of(model)(
                input_ids=part,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
    layers, reads = [], Reads(model)
    for number, place in enumerate(reads.kept.places):
        layer: Any = cache.layers[place]
        if layer.keys is None or layer.values is None:
            raise Unsupported(type(model).__name__, "some layers cache no keys and values")
        keys, values = layer.keys, layer.values
        if offload:
            keys, values = keys.to(layer.device), values.to(layer.device)
        if not _are_finite(keys, values):
            raise NotFinite(
                f"keys or values of layer {number} are NaN or infinite after {len(tokens)} "
                "tokens of context"
            )
        keys, values = reads.held(place, keys.contiguous(), values.contiguous())
        segment = Segment(keys[0], values[0], start=len(tokens) - keys.shape[2])
        kept = ContextLayer((segment,), reads.kept.is_local(number))
        layers.append(kept.offloaded() if offload else kept)
        if offload:
            layer.keys = layer.values = None
    states = states_of(cache)
    if reads.kept.has_states and not states:
        raise Unsupported(
            type(model).__name__,
            "its recurrent layers keep their states in the model, where contexts are mixed up",
        )
    if not all(bool(state.isfinite().all()) for state in states.values()):
        raise NotFinite(f"states of layers are NaN or infinite after {len(tokens)} tokens")
    return Context(
        len(tokens), tuple(layers), statistics=statistics, tokens=tuple(tokens), states=states
    )


def _are_finite(keys: Tensor, values: Tensor) -> bool:
    """Without a copy of what may be the largest tensors that there are."""
    bounds = [*keys.aminmax(), *values.aminmax()]  # NaN if any number is
    return bool(torch.stack(bounds).isfinite().all())


@contextlib.contextmanager
def observing(
    model: PreTrainedModel, cache: Cache, statistics: PrefillStatistics
) -> Iterator[None]:
    """Let ``statistics`` see the attention of forwards inside, which fill ``cache``.

    The model's own attention function does the work; it is replaced by one that looks on and calls
    it, for the forwards of this context only.
    """
    if not statistics.request:
        yield
        return
    name = model.config.get_text_config()._attn_implementation
    observer = _Observer(model, cache, statistics)
    before = ALL_ATTENTION_FUNCTIONS._local_mapping.get(name)
    registered = before or type(ALL_ATTENTION_FUNCTIONS)._global_mapping.get(name)

    def look_on(module: nn.Module, query: Tensor, key: Tensor, *args: Any, **given: Any) -> Any:
        if _current.get() is observer:
            observer.observe(module, query, key, given)
        own = registered or sys.modules[type(module).__module__].eager_attention_forward
        return own(module, query, key, *args, **given)

    ALL_ATTENTION_FUNCTIONS[name] = look_on
    outer = _current.set(observer)
    try:
        yield
    finally:
        _current.reset(outer)
        del ALL_ATTENTION_FUNCTIONS[name]
        if before is not None:
            ALL_ATTENTION_FUNCTIONS[name] = before


class _Observer:
    """Shows ``statistics`` what attention modules do while a cache is filled."""

    def __init__(self, model: PreTrainedModel, cache: Cache, statistics: PrefillStatistics) -> None:
        self._reads, self._cache, self._statistics = Reads(model), cache, statistics
        self._rotaries = rotary_layers(model) if statistics.request.rotation else []
        self._update = cache.update
        cache.update = self.update

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *args: Any, **given: Any
    ) -> tuple[Tensor, Tensor]:
        """The cache's own, whose results are noted."""
        results = self._update(keys, values, layer_idx, *args, **given)
        self._reads.newest[layer_idx] = weakref.ref(results[0]), results[0].shape[1]
        self._reads.held(layer_idx, keys, values)  # which finds out how it makes them
        return results

    def observe(self, module: nn.Module, query: Tensor, key: Tensor, given: dict[str, Any]) -> None:
        """A module attends; see ``Reads.read``."""
        read = self._reads.read(module, query, key, given)
        if not read.first:
            return  # a layer that reads the keys of another one
        if read.latent is not None:
            place = self._reads.kept.places[read.layer]
            layer: Any = self._cache.layers[place]
            held = layer.keys.to(query.device), layer.values.to(query.device)
            key, _ = self._reads.held(place, *held)
        _, heads, group, _, _ = read.queries.shape
        find_weight = partial(output_weight, module, heads, group, query.new_empty(0), read.latent)
        facts = LayerFacts(
            read.settings,
            self._rotaries[read.layer] if self._rotaries else None,
            find_weight if self._statistics.request.output_weight else _not_asked_for,
        )
        self._statistics.observe(read.layer, read.queries[0], key[0], facts)


def _not_asked_for() -> None:
    return None
